"""A window keeps W children running, refills when the first ends, and never starts a child twice.

The children run in this process, step by step in turns, so that what ran beside what can be written down.
"""

import asyncio

import greenback
import pytest
from aiida import orm
from aiida.engine import WorkChain, run_get_node, while_

from aiida_argonaut.workflows.window import WindowWorkChain

pytestmark = [pytest.mark.usefixtures("profile"), pytest.mark.timeout(60)]

EVENTS = []
"""pk of a child at each of its steps, in the order in which things happened."""


class Child(WorkChain):
    """Takes a given number of steps."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input("steps", valid_type=orm.Int)
        spec.input("fails", valid_type=orm.Bool, required=False)
        spec.outline(cls.begin, while_(cls.remain)(cls.work), cls.end)
        spec.exit_code(400, "ERROR_ASKED_FOR", message="as asked")

    def begin(self):
        self.ctx.steps_done = 0

    def remain(self):
        return self.ctx.steps_done < self.inputs.steps.value

    def work(self):
        self.ctx.steps_done += 1
        EVENTS.append(self.node.pk)
        greenback.await_(asyncio.sleep(0.02))  # lets the others work, as waiting for a job does

    def end(self):
        return self.exit_codes.ERROR_ASKED_FOR if "fails" in self.inputs else None


class Parent(WindowWorkChain):
    """Keeps `width` children running until all have ended."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input("steps", valid_type=orm.List, help="Steps of each child.")
        spec.input("width", valid_type=orm.Int)
        spec.input("repeats", valid_type=orm.Int, required=False, help="How often each step is repeated.")
        spec.input("fails", valid_type=orm.Bool, required=False)
        spec.outline(while_(cls.remain)(cls.fill))

    def remain(self):
        return self.ctx.get("ended", 0) < len(self.inputs.steps)

    def fill(self):
        steps = {f"child_{index}": count for index, count in enumerate(self.inputs.steps.get_list())}
        failing = {"fails": self.inputs.fails} if "fails" in self.inputs else {}

        def submit(label):
            return self.submit_once(label, Child, {"steps": orm.Int(steps[label]), **failing})

        for _ in range(self.inputs.repeats.value if "repeats" in self.inputs else 1):
            self.ctx.ended = len(self.fill_window(steps, self.inputs.width.value, submit))


def run(steps, width, **inputs):
    """Run the parent; returns its children by pk, and the pks in the order in which they worked."""
    EVENTS.clear()
    _, node = run_get_node(Parent, steps=orm.List(steps), width=orm.Int(width), **inputs)
    assert node.is_finished_ok, node.exit_message or node.exception
    children = sorted(node.called, key=lambda child: child.pk)
    return {child.pk: child for child in children}, list(EVENTS)


def at_work(events):
    """At each event, how many children have begun and not yet ended (with their last step)."""
    return [
        sum(1 for pk in set(events) if events.index(pk) <= place <= len(events) - 1 - events[::-1].index(pk))
        for place in range(len(events))
    ]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_never_more_than_the_window(width):
    children, events = run([3, 5, 2, 4, 3, 2], width)
    assert len(children) == 6
    assert len(events) == 19
    assert max(at_work(events)) <= width


def test_children_run_side_by_side():
    _, events = run([6, 6], 2)
    assert max(at_work(events)) == 2


def test_a_slow_child_does_not_hold_up_the_others():
    children, events = run([80, 2, 2, 2, 2], 2)
    slow = min(children)
    assert events[-1] == slow, "the window waited for its slowest child before it was refilled"
    assert set(events) == set(children)


def test_a_repeated_step_adopts_the_children_that_it_finds():
    children, _ = run([3, 1, 4, 2], 2, repeats=orm.Int(3))
    assert len(children) == 4


def test_failing_children_are_counted_like_any():
    children, _ = run([1, 2, 1], 2, fails=orm.Bool(True))
    assert [child.exit_status for child in children.values()] == [400, 400, 400]


def test_more_room_than_children():
    children, _ = run([2, 1], 50)
    assert len(children) == 2
