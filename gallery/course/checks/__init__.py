"""The checks of each lesson: `exercise_N` takes the answers to exercise N by name, and raises `WrongError`."""
