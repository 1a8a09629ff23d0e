"""What every room's tests can ask for, and how Hypothesis treats them."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.fixtures.s3"]

# An example that takes 0.4 ms takes over Hypothesis's 200 ms once in a while on a machine that others use: no test here is about time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
