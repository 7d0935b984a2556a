from __future__ import annotations

from typing import Any

import pytest

WHO = {"device_id": "device-1"}


def exposure(**properties: Any) -> dict[str, Any]:
    return {**WHO, "event_type": "$exposure", "event_properties": properties}


def test_an_exposure_is_an_event_of_another_name_and_sets_the_users_variant(bench: Any) -> None:
    bench.send(
        exposure(flag_key="color", variant="blue", experiment_key="exp-1", more=1.50),
        {**WHO, "event_type": "e"},
    )

    bench.run()

    first, second = bench.lines()
    assert first["event_type"] == "[Experiment] Exposure"
    assert first["event_properties"] == {
        "[Experiment] Flag Key": "color",
        "[Experiment] Variant": "blue",
        "[Experiment] Experiment Key": "exp-1",
        "more": 1.5,
    }
    assert first["user_properties"] == second["user_properties"] == {"[Experiment] color": "blue"}
    assert first["data"]["user_properties_updated"] is True
    assert bench.counts()["exported"] == 2
    assert bench.counts()["identifies"] == 0


@pytest.mark.parametrize("gone", [{}, {"variant": None}, {"variant": ""}, {"variant": 7}])
def test_an_exposure_without_a_variant_unsets_it(bench: Any, gone: dict[str, Any]) -> None:
    bench.send(exposure(flag_key="color", variant="blue"), exposure(flag_key="size", variant="L"))
    bench.send(exposure(flag_key="color", **gone))
    bench.run()
    bench.crash()
    bench.send({**WHO, "event_type": "e"})

    bench.run()

    shown = [line["user_properties"] for line in bench.lines()]
    assert shown[1] == {"[Experiment] color": "blue", "[Experiment] size": "L"}
    assert shown[2:] == [{"[Experiment] size": "L"}] * 2


def test_an_exposures_own_properties_stand_over_what_it_sets(bench: Any) -> None:
    own = {"plan": "gold", "[Experiment] color": "red"}
    one = {**exposure(flag_key="color", variant="blue"), "user_properties": own}
    bench.send(one, {**WHO, "event_type": "e"}, one)

    bench.run()

    assert [line["user_properties"] for line in bench.lines()] == [
        {"[Experiment] color": "red", "plan": "gold"}
    ] * 3


@pytest.mark.parametrize("properties", [{}, {"variant": "blue"}, {"flag_key": ""}, {"flag_key": 3}])
def test_an_exposure_that_names_no_flag_changes_nobody(
    bench: Any, properties: dict[str, Any]
) -> None:
    bench.send(exposure(**properties))

    bench.run()

    (line,) = bench.lines()
    assert line["event_type"] == "[Experiment] Exposure"
    assert line["user_properties"] == {}
    assert len(line["event_properties"]) == len(properties)


def test_an_exposure_is_an_update_where_these_are_limited(bench: Any) -> None:
    bench.updates_max = 1
    bench.crash()
    bench.send(exposure(flag_key="color", variant="blue"), exposure(flag_key="color"))

    bench.run()

    assert [line["user_properties"] for line in bench.lines()] == [
        {"[Experiment] color": "blue"}
    ] * 2
    assert bench.processor.updates_dropped == 1
