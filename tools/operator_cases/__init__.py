"""Cases of the operator fixtures, one module a family; see ../make_operator_fixtures.py."""
