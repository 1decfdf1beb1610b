"""Cost of a run, and the machine it ran on."""

import re
import time

import torch

from edit_robustness.machine import Cost, Meter, RunMeter, add_cpu_seconds, machine, processor, threads
from edit_robustness.report.runs import summary


def test_a_meter_counts_seconds_and_cpu_seconds_from_look_to_look():
    meter = Meter()
    time.sleep(0.05)
    lap = meter.lap()
    assert lap.seconds >= 0.05
    assert lap.cpu_seconds < 0.05
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert meter.lap().cpu_seconds >= 0.05  # of 10 ms each
    assert str(Cost(61.2, 100.4)) == "61 s, 100 CPU s"


def test_a_run_shares_its_time_among_the_records_of_its_models(monkeypatch):
    monkeypatch.setattr(RunMeter, "meter", None)
    RunMeter.start()
    time.sleep(0.02)
    assert RunMeter.lap().seconds >= 0.02
    assert RunMeter.lap().seconds < 0.02


def test_the_machine_is_named_by_processor_and_threads():
    assert processor()
    assert threads() == torch.get_num_threads()
    assert re.fullmatch(rf"{re.escape(processor())}, \d+ threads?(, oneDNN)?", machine())


def test_the_page_shows_cpu_seconds_processor_and_threads():
    runs = [
        {"seconds": 61, "cpu_seconds": 1100.4, "machine": "A, 2 threads"},
        {"seconds": 5, "machine": "A, 2 threads"},
    ]
    assert summary(runs) == [("Time", "1 min 1 s (1,100 CPU s) + 5 s"), ("Machine", "A, 2 threads")]


def test_cpu_seconds_of_workers_count():
    meter = Meter()
    add_cpu_seconds(1000.0)
    assert 1000 <= meter.lap().cpu_seconds < 1010
    add_cpu_seconds(-1000.0)
