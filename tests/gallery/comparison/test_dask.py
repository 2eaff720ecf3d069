"""The rows of a comparison in processes of a dask cluster, on the loopback address."""

import json

import joblib
import pytest
from comparisons import compared, comparing

distributed = pytest.importorskip("dask.distributed", reason="dask is not installed: pip install '.[slow]'")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of dask, while it closes
def test_rows_in_processes_of_dask_are_those_of_joblib(tmp_path):
    comparison = comparing("factor_analysis", ("trace", "analytic"), seeds=2)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=tmp_path / "dask"
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        there, _ = compared(comparison, tmp_path / "there")
    here, _ = compared(comparison, tmp_path / "here")

    def numbers(result):
        return [{name: row[name] for name in ("label", "seed", "status", "elbo", "evidence")} for row in result["rows"]]

    assert json.dumps(numbers(there)) == json.dumps(numbers(here))
    assert {row["status"] for row in there["rows"]} == {"finished"}
