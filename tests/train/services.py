"""Stand-ins for the packages of wandb and mlflow, as far as Lightning and detkit use them; runs are kept in memory."""

import sys
from types import ModuleType, SimpleNamespace

from lightning.pytorch.loggers import mlflow as lightning_mlflow
from lightning.pytorch.loggers import wandb as lightning_wandb

BEGINNING = {"name", "project", "dir", "id", "resume", "anonymous"}
"""What wandb.init is given."""


class Refusal(Exception):
    """What both packages raise."""


class Run:
    """One run of wandb, with the methods that are used and their names of arguments."""

    def __init__(self, number):
        self.id, self.metrics, self.pictures, self.ends = number, [], {}, []
        self.settings = {}
        self.config = SimpleNamespace(update=lambda params, allow_val_change=None: self.settings.update(params))
        self.broken = False

    def log(self, data, step=None, commit=None):
        if self.broken:
            raise Refusal("the service is gone")
        for name, value in data.items():
            if isinstance(value, list):
                self.pictures[name] = value[0].shape
        self.metrics.append(data)

    def define_metric(self, name, step_metric=None, step_sync=None):
        pass

    def finish(self, exit_code=None):
        self.ends.append(exit_code)
        sys.modules["wandb"].run = None


def fake_wandb(monkeypatch):
    """Install it; return its runs by id."""
    runs = {}

    def init(**given):
        assert given.keys() == BEGINNING
        if given["project"] == "forbidden":
            raise Refusal("no API key")
        number = given["id"] or f"run{len(runs)}"
        module.run = runs.setdefault(number, Run(number))
        return module.run

    module = _install(monkeypatch, "wandb", run=None, init=init, Error=Refusal, Image=lambda picture: picture)
    _install(monkeypatch, "wandb.sdk")
    _install(monkeypatch, "wandb.sdk.lib", RunDisabled=type("RunDisabled", (), {}))
    _install(monkeypatch, "wandb.wandb_run", Run=Run)
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", True)
    return runs


class Client:
    """mlflow's client, with the methods that are used and their names of arguments."""

    runs = {}

    def __init__(self, tracking_uri=None, registry_uri=None):
        if tracking_uri == "forbidden://":
            raise Refusal("no such server")
        self.tracking_uri = tracking_uri

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location=None, tags=None):
        self.place = artifact_location
        return name

    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        number = f"run{len(self.runs)}"
        info = SimpleNamespace(run_id=number, experiment_id=experiment_id)
        self.runs[number] = SimpleNamespace(info=info, settings={}, metrics=[], pictures={}, states=[], tags=tags)
        return self.runs[number]

    def get_run(self, run_id):
        if run_id not in self.runs:
            raise Refusal(f"no run {run_id}")
        return self.runs[run_id]

    def update_run(self, run_id, status=None, name=None):
        self.runs[run_id].states.append(status)

    def log_batch(self, run_id, metrics=(), params=(), tags=(), synchronous=None):
        run = self.runs[run_id]
        if "broken" in run.states:
            raise Refusal("the service is gone")
        run.settings.update({param.key: param.value for param in params})
        run.metrics += [{metric.key: metric.value} for metric in metrics]

    def log_image(self, run_id, image, artifact_file=None, key=None, step=None, timestamp=None, synchronous=None):
        self.runs[run_id].pictures[artifact_file] = image.shape

    def set_terminated(self, run_id, status=None, end_time=None):
        self.runs[run_id].states.append(status)


def fake_mlflow(monkeypatch):
    """Install it; return its runs by id."""
    monkeypatch.setattr(Client, "runs", {})
    _install(monkeypatch, "mlflow", set_tracking_uri=lambda uri: None)
    _install(monkeypatch, "mlflow.exceptions", MlflowException=Refusal)
    _install(monkeypatch, "mlflow.tracking", MlflowClient=Client)
    _install(monkeypatch, "mlflow.entities", Param=SimpleNamespace, Metric=SimpleNamespace)
    _install(monkeypatch, "mlflow.utils")
    _install(monkeypatch, "mlflow.utils.mlflow_tags", MLFLOW_RUN_NAME="mlflow.runName")
    monkeypatch.setattr(lightning_mlflow, "_MLFLOW_AVAILABLE", True)
    monkeypatch.setattr(lightning_mlflow, "_get_resolve_tags", lambda: lambda tags: tags)
    return Client.runs


def _install(monkeypatch, name, **content):
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)
    return module
