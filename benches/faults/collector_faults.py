"""Faults of the Collector and of the service itself."""

from stage import scenario

SCENARIOS = []


@scenario(SCENARIOS, "down at the start")
def down_at_start(stage):
    """The Collector is down when the service starts, and comes up 5 s later."""
    with stage.fault():
        stage.start_services()
        stage.run_for(5)
        stage.collector.start()
    stage.run_for(8)
