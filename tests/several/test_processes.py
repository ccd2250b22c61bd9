import os
from datetime import timedelta
from types import SimpleNamespace

import pytest

from pyrovae import Processes, several_processes
from pyrovae.processes import alone, processes_now, refuse_several, start


def process(rank, world_size):
    return Processes(SimpleNamespace(global_rank=rank, world_size=world_size))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 64, 100, 127])
def test_shares_are_all_there_is_once_and_in_order(world_size, number):
    shares = [process(rank, world_size).share(number) for rank in range(world_size)]
    assert [row for share in shares for row in share] == list(range(number))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_by_itself_exchanges_nothing():
    one = processes_now()
    assert (one.rank, one.world_size, one.is_first, one.several) == (0, 1, True, False)
    assert one.gather(3) == [3]
    assert one.largest(3) == 3
    assert one.from_first(lambda: 3) == 3
    with several_processes() as processes, alone():
        assert (processes.world_size, processes_now().world_size) == (1, 1)


def test_a_script_without_torchrun_runs_by_itself():
    assert "TORCHELASTIC_RUN_ID" not in os.environ
    refuse_several("it")
    with several_processes("cuda:1") as processes:
        assert not processes.several


def test_processes_wait_for_one_another_as_long_as_they_are_told(monkeypatch):
    class NotStartedError(Exception):
        pass

    def fabric(device, timeout):
        raise NotStartedError(device, timeout)

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(start, "_fabric", fabric)
    for options, minutes in (({}, 30), ({"timeout_minutes": 1.5}, 1.5)):
        with pytest.raises(NotStartedError) as caught, several_processes("cpu", **options):
            pass
        assert caught.value.args == ("cpu", timedelta(minutes=minutes))


def test_each_process_has_its_own_device(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"device is 'cuda:1'.*give auto, cpu or cuda"), several_processes("cuda:1"):
        pass
    with pytest.raises(ValueError, match=r"python -m pyrovae\.look runs in one process"):
        refuse_several("python -m pyrovae.look")
