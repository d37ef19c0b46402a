"""What has the name of a class is a class under the clock too."""

from __future__ import annotations

import copy
import os
import pickle
import queue
import select
import socket
import sys
import threading
import time

import pytest

from_before = queue.SimpleQueue()
has_epoll = pytest.mark.skipif(not hasattr(select, "epoll"), reason="only Linux has epoll")


@has_epoll
def test_epoll_is_a_class(clock):
    assert isinstance(select.epoll, type)
    here, there = socket.socketpair()
    with here, there, select.epoll() as each:
        assert isinstance(each, select.epoll)
        assert not isinstance(select.poll(), select.epoll)
        again = select.epoll.fromfd(os.dup(each.fileno()))
        assert isinstance(again, select.epoll)
        again.register(here, select.EPOLLIN)
        answer = threading.Timer(5, there.send, (b"x",))
        answer.start()
        assert select.epoll.poll(again, 60) == [(here.fileno(), select.EPOLLIN)]
        answer.join()
        select.epoll.close(again)
        assert again.closed
    assert clock.elapsed == 5


def test_a_simple_queue_is_of_its_class(clock):
    assert isinstance(queue.SimpleQueue(), queue.SimpleQueue)
    assert isinstance(from_before, queue.SimpleQueue)
    assert issubclass(type(from_before), queue.SimpleQueue)
    assert not isinstance(queue.Queue(), queue.SimpleQueue)
    match queue.SimpleQueue():
        case queue.SimpleQueue():
            pass
        case other:
            pytest.fail(f"{other} is no SimpleQueue")
    assert queue.SimpleQueue[int]
    assert queue.SimpleQueue | None


def test_a_class_that_is_derived_from_a_simple_queue(clock):
    class Mine(queue.SimpleQueue):
        def get(self, **kwargs):
            return super().get(**kwargs), "mine"

    each = Mine()
    threading.Timer(5, each.put, ("x",)).start()
    assert each.get(timeout=60) == ("x", "mine")
    with pytest.raises(queue.Empty):
        each.get(timeout=5)
    assert isinstance(each, queue.SimpleQueue)
    assert not isinstance(queue.SimpleQueue(), Mine)
    assert clock.elapsed == 10


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (time, "sleep"),
        (threading, "Lock"),
        (threading, "RLock"),
        (queue, "SimpleQueue"),
        (select, "select"),
        *([(select, "epoll")] if hasattr(select, "epoll") else []),
    ],
)
def test_what_stands_for_a_function_or_class_is_pickled_by_its_name(clock, module, name):
    each = getattr(sys.modules[module.__name__], name)
    assert pickle.loads(pickle.dumps(each)) is each
    assert copy.deepcopy(each) is each
