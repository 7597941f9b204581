"""What counts as the same output."""

import pytest

from journeyman.verifiers.programs.outputs import same_output

SAME, OTHER = True, False


@pytest.mark.parametrize(
    ("printed", "expected", "tolerance", "verdict"),
    [
        ("1 2  \n3\n\n", "1 2\n3", 0, SAME),
        ("1  2", "1 2", 0, OTHER),
        ("1.0", "1", 0, OTHER),
        ("1.0", "1", 1e-6, SAME),
        ("1  2", "1 2", 1e-6, SAME),
        ("1\n2", "1 2", 1e-6, OTHER),
        ("0.3333333", "0.33333333333", 1e-6, SAME),
        ("0.33333", "0.33333333333", 1e-6, OTHER),
        ("1e9", "1000000001.0", 1e-6, SAME),
        ("1000000000", "1000000001", 1e-6, OTHER),
        ("+7 -0 007", "7 0 7", 1e-6, SAME),
        ("-7", "7", 1e-6, OTHER),
        ("9" * 5000, "9" * 4999 + "8", 1e-6, OTHER),
        ("nan", "1.5", 1e-6, OTHER),
        ("inf", "1.5", 1e-6, OTHER),
        ("1e999", "1.5", 1e-6, OTHER),
        ("1.5", "1e999", 1e-6, OTHER),
        ("nan", "nan", 1e-6, SAME),
        ("1_5", "15", 1e-6, OTHER),
        ("Case 1: 2.50000001", "Case 1: 2.5", 1e-6, SAME),
        ("case 1: 2.5", "Case 1: 2.5", 1e-6, OTHER),
        ("1.5 2.5", "1.5", 1e-6, OTHER),
    ],
)
def test_outputs(printed, expected, tolerance, verdict):
    assert same_output(printed, expected, tolerance) is verdict
