"""What every room's tests can ask for."""

pytest_plugins = ["tests.fixtures.s3"]
