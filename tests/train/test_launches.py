"""The README's ways to start several processes: torchrun, SLURM, and by hand on two machines, which share no folder."""

import csv
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.train.launching import free_port, launch
from tests.train.tiny import write_rectangles

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SMALL = "recipe.epochs=1 recipe.batch=2 data.size=64 data.workers=0 plots=false trainer.accelerator=cpu"


def shown(*words):
    """Return the README's one command that holds all of the words."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    [found] = [line for line in "".join(blocks).splitlines() if all(word in line for word in words)]
    return found


@pytest.fixture
def machines(tmp_path):
    """Two home folders with the same data."""
    for name in ("first", "second"):
        write_rectangles(tmp_path / name / "mydata", train=4, val=3)
        for part in ("tools", "configs", "detkit"):
            (tmp_path / name / part).symlink_to(ROOT / part)
    return tmp_path / "first", tmp_path / "second"


def command(text, devices):
    """Return the words of a command for so many processes a machine, and what stands before it for the environment."""
    text = re.sub(r"(trainer\.devices=|--nproc-per-node |--ntasks-per-node |--gpus-per-node )\d+", rf"\g<1>{devices}", text)
    words = shlex.split(text)
    environment = {}
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, environment[name] = words.pop(0).partition("=")
    if words[0] == "torchrun":
        words[:1] = ["-m", "torch.distributed.run"]
    return [sys.executable, *words, *SMALL.split()], environment


def start(*processes, expected=0):
    """Start (command, environment, home) each in its home."""
    return launch(*((words, extra | {"HOME": str(home)}, home) for words, extra, home in processes), expected=expected)


def by_hand(machines, *words):
    """Return the two commands that the README has for two machines without a launcher, with further words."""
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    started = []
    for number, home in enumerate(machines):
        shown_words, environment = command(shown(f"NODE_RANK={number} "), 1)
        assert set(environment) == {"NODE_RANK", *here}
        started.append(([*shown_words, *words], environment | here, home))
    return started


def check(first, second, outputs):
    """Check that there is one run, in the first home, and that it was told of once."""
    [run] = (first / "runs" / "yolo11n").iterdir()
    assert run.name == "0" and (run / "best.ckpt").is_file()
    with (run / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]
    assert not (second / "runs").exists()
    assert sum("3 images" in out for out, _ in outputs) == 1


def test_torchrun_on_one_machine_and_two_processes_evaluate(machines):
    words, environment = command(shown("torchrun --nproc-per-node"), 2)
    check(*machines, start((words, environment, machines[0])))
    run = machines[0] / "runs" / "yolo11n" / "0"
    words = ["tools/eval.py", str(run / "best.ckpt"), "trainer.accelerator=cpu", "trainer.devices=2", "plots=false"]
    [(out, _)] = start(([sys.executable, *words], {}, machines[0]))
    assert out.count("3 images") == 1 and out.count("results.json") == 1
    assert (run / "eval" / "results.json").is_file()


def test_torchrun_on_two_machines(machines):
    words, environment = command(shown("torchrun --nnodes").replace("first.host:29500", f"127.0.0.1:{free_port()}"), 1)
    check(*machines, start(*((words, environment, home) for home in machines)))


def test_slurm(machines):
    """Two tasks on two machines, as srun starts them."""
    text = shown("srun ")
    words, _ = command(text[text.index("tools/train.py") :], 1)
    job = {"SLURM_JOB_ID": "1234", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "127.0.0.1", "SLURM_LOCALID": "0"}
    job |= {"SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "1", "MASTER_PORT": free_port()}
    tasks = [{"SLURM_PROCID": str(number), "SLURM_NODEID": str(number)} for number in range(2)]
    check(*machines, start(*((words, job | task, home) for task, home in zip(tasks, machines, strict=True))))


def test_by_hand_on_two_machines_and_on_with_a_copy_of_the_run_folder(machines):
    first, second = machines
    check(first, second, start(*by_hand(machines)))
    resume = ["tools/train.py", "--resume", "runs/yolo11n/0", "recipe.epochs=2"]
    again = [([sys.executable, *resume], environment, home) for _, environment, home in by_hand(machines)]
    [(_, error)] = start(again[1], expected=2)
    assert "no config.json there" in error and "copy" in error
    shutil.copytree(first / "runs", second / "runs")
    start(*again)
    assert len((first / "runs/yolo11n/0/metrics.csv").read_text().splitlines()) == 3
    assert len((second / "runs/yolo11n/0/metrics.csv").read_text().splitlines()) == 2


def test_machines_with_other_data_are_refused(machines):
    file = machines[1] / "mydata" / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["annotations"].pop()
    file.write_text(json.dumps(content))
    for _, error in start(*by_hand(machines), expected=2):
        assert "process 1 has other training images than the first" in error
    assert not (machines[0] / "runs" / "yolo11n" / "0").exists()
