"""A process of a comparison ends with its parent, also where that was killed."""

import os
import select
import signal
import time

import pytest

from gallery.comparison import process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_process_ends_soon_after_its_parent_was_killed(monkeypatch):
    monkeypatch.setattr(process, "PARENT_SECONDS", 0.02)
    read, write = os.pipe()
    parent = os.fork()
    if not parent:
        if not os.fork():
            process._end_with(os.getppid())
            os.write(write, b"begun")
            time.sleep(60)
        time.sleep(60)
        os._exit(0)
    os.close(write)
    assert os.read(read, 5) == b"begun"
    assert not select.select([read], [], [], 0.2)[0]  # it waits while the parent lives
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert select.select([read], [], [], 10)[0]
    assert os.read(read, 5) == b""  # its end of the pipe is closed: it has ended
    os.close(read)
