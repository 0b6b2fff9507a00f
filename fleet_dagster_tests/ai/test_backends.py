import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import load
from fleet_dagster.ai.outputs import Predictions
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster_tests import ai_models as models

ROWS = np.array([[0.1, 0.2, 0.3], [0.4, 0.8, 0.6]], dtype=np.float32)
BOTH = np.ones(2, dtype=np.bool_)
NO_TOKEN = "NO_SUCH_VARIABLE"  # noqa: S105 - names a variable


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models")


def slot(folder: ModelFolder, path: Path | None = None, **changes: object) -> AIModelSlot:
    own = models.pinned(folder, path) if path else {}
    content = {"slot_id": 0, "model_id": "m", "features": models.FEATURES, **own, **changes}
    return AIModelSlot.model_validate(content)


def asked(slot: AIModelSlot, folder: ModelFolder) -> Predictions:
    return load(slot, folder).predict(ROWS, BOTH)


def test_a_scikit_learn_regression_gives_its_value_and_is_sure(
    folder: ModelFolder, tmp_path: Path
) -> None:
    found = asked(slot(folder, models.sklearn_file(tmp_path)), folder)
    np.testing.assert_allclose(found.value, [0.1, 0.4], atol=1e-6)
    assert found.confidence.tolist() == [1.0, 1.0]


def test_a_classifier_gives_the_probability_or_the_class(
    folder: ModelFolder, tmp_path: Path
) -> None:
    path = models.classifier_file(tmp_path)
    p = asked(slot(folder, path, output="probability"), folder)
    best = asked(slot(folder, path, output="class"), folder)
    assert p.value[0] < 0.5 < p.value[1]
    assert best.value.tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(p.confidence, np.maximum(p.value, np.round(1 - p.value, 9)))
    np.testing.assert_allclose(best.confidence, p.confidence, atol=1e-6)


def test_an_onnx_graph_gives_its_value(folder: ModelFolder, tmp_path: Path) -> None:
    own = slot(folder, models.onnx_file(tmp_path), backend="onnx")
    np.testing.assert_allclose(asked(own, folder).value, [0.2, 0.8], atol=1e-6)


def test_an_endpoint_is_sent_the_rows_asked_for_and_its_token(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_TOKEN", "secret")
    with models.server(lambda rows: {"predictions": [sum(r) for r in rows]}) as (url, seen):
        own = slot(folder, backend="http", artifact=url, token_env="MODEL_TOKEN")  # noqa: S106 - names a variable
        found = load(own, folder).predict(ROWS, np.array([False, True]))
    np.testing.assert_allclose(found.value, [np.nan, 1.8], atol=1e-6)
    (request,) = seen
    np.testing.assert_allclose(request["instances"], ROWS[1:])
    assert request["authorization"] == "Bearer secret"
    assert "secret" not in own.model_dump_json()


def test_an_endpoint_may_answer_with_confidences_and_absent_inputs_are_null(
    folder: ModelFolder,
) -> None:
    rows = np.array([[np.nan, 0.2, 0.3]], dtype=np.float32)
    reply = {"predictions": [{"prediction": 7, "confidence": 0.25}]}
    with models.server(lambda _rows: reply) as (url, seen):
        own = slot(folder, backend="http", artifact=url, missing="pass")
        found = load(own, folder).predict(rows, np.ones(1, dtype=np.bool_))
    assert (found.value[0], found.confidence[0]) == (7.0, 0.25)
    assert seen[0]["instances"][0][0] is None


def test_an_endpoint_that_is_busy_is_asked_again(folder: ModelFolder) -> None:
    answers = iter([503, {"predictions": [1, 2]}])
    with models.server(lambda _rows: next(answers)) as (url, seen):
        found = asked(slot(folder, backend="http", artifact=url), folder)
    assert found.value.tolist() == [1.0, 2.0]
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (404, "status 404"),
        (302, "status 302"),
        ({"result": []}, "without predictions"),
        ({"predictions": [1]}, r"shape \(1,\)"),
        ({"predictions": ["a", "b"]}, "no numbers"),
    ],
)
def test_an_endpoint_that_answers_nonsense_is_refused(
    folder: ModelFolder, answer: object, words: str
) -> None:
    with (
        models.server(lambda _rows: answer) as (url, _),
        pytest.raises(ModelError, match=words),
    ):
        asked(slot(folder, backend="http", artifact=url), folder)


def test_an_entry_point_may_be_a_function_or_a_class(
    folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.install_plugin(tmp_path, monkeypatch)
    mean = asked(slot(folder, backend="entry_point", artifact="mean"), folder)
    total = asked(slot(folder, backend="entry_point", artifact="Sum"), folder)
    np.testing.assert_allclose(3 * mean.value, total.value, atol=1e-6)
    with pytest.raises(ModelError, match=r"no installed package offers 'nope'.*mean"):
        load(slot(folder, backend="entry_point", artifact="nope"), folder)


def test_a_swapped_file_is_refused(folder: ModelFolder, tmp_path: Path) -> None:
    own = slot(folder, models.sklearn_file(tmp_path))
    models.sklearn_file(tmp_path, weights=(0.0, 1.0, 0.0)).rename(folder.root / own.artifact)
    with pytest.raises(ModelError, match="was registered"):
        load(own, folder)


@pytest.mark.parametrize("artifact", ["../evil.skops", "/etc/passwd", "a/../../evil.skops"])
def test_a_file_outside_the_folder_is_refused(
    folder: ModelFolder, tmp_path: Path, artifact: str
) -> None:
    folder.root.mkdir()
    own = slot(folder, artifact=artifact, sha256="0" * 64)
    with pytest.raises(ModelError, match="lies outside"):
        load(own, folder)
    link = folder.root / "link.skops"
    link.symlink_to(models.sklearn_file(tmp_path))
    with pytest.raises(ModelError, match="lies outside"):
        load(slot(folder, artifact="link.skops", sha256="0" * 64), folder)


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return open, (self.path, "w")


def test_a_pickle_by_another_name_is_refused_and_not_run(
    folder: ModelFolder, tmp_path: Path
) -> None:
    trace = tmp_path / "was_here"
    path = models.written(tmp_path / "evil.skops", pickle.dumps(Evil(str(trace))))
    with pytest.raises(ModelError, match="no skops archive"):
        load(slot(folder, path), folder)
    assert not trace.exists()


def test_a_type_that_is_not_trusted_is_refused(folder: ModelFolder, tmp_path: Path) -> None:
    model = LinearRegression().fit(ROWS, [0, 1])
    model.extra_ = Evil("x")
    path = models.written(tmp_path / "evil.skops", skops.io.dumps(model))
    with pytest.raises(ModelError, match=r"not trusted.*Evil"):
        load(slot(folder, path), folder)


def archive(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        for name, own in members.items():
            made.writestr(name, own)
    return content.getvalue()


def test_an_archive_whose_members_lead_out_of_it_is_refused(
    folder: ModelFolder, tmp_path: Path
) -> None:
    path = models.written(
        tmp_path / "e.skops", archive(**{"../../evil": b"x", "schema.json": b"{}"})
    )
    with pytest.raises(ModelError, match="lies outside of it"):
        load(slot(folder, path), folder)


def test_an_archive_that_explodes_is_refused_before_it_is_unpacked(
    folder: ModelFolder, tmp_path: Path
) -> None:
    bomb = archive(**{"schema.json": b"{}", "a.npy": b"\0" * 50_000_000})
    assert len(bomb) < 100_000
    with pytest.raises(ModelError, match="would unpack to 50 MB"):
        load(slot(folder, models.written(tmp_path / "bomb.skops", bomb)), folder)


def test_an_onnx_graph_that_reads_other_files_is_refused(
    folder: ModelFolder, tmp_path: Path
) -> None:
    model = models.onnx_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    path = models.written(tmp_path / "evil.onnx", model.SerializeToString())
    with pytest.raises(ModelError, match=r"another file \(\.\./\.\./\.\./etc/passwd\)"):
        load(slot(folder, path, backend="onnx"), folder)


def test_outside_data_within_a_nodes_own_graph_is_found(
    folder: ModelFolder, tmp_path: Path
) -> None:
    inner = models.onnx_model().graph
    inner.initializer[0].data_location = TensorProto.EXTERNAL
    inner.initializer[0].external_data.add(key="location", value="w.bin")
    model = models.onnx_model()
    model.graph.node.append(
        helper.make_node("If", ["out"], ["z"], then_branch=inner, else_branch=inner)
    )
    path = models.written(tmp_path / "evil.onnx", model.SerializeToString())
    with pytest.raises(ModelError, match="kept in another file"):
        load(slot(folder, path, backend="onnx"), folder)


def test_a_corrupt_onnx_file_is_refused(folder: ModelFolder, tmp_path: Path) -> None:
    path = models.written(tmp_path / "noise.onnx", b"\xff" * 100)
    with pytest.raises(ModelError, match=r"no ONNX model|refuses it"):
        load(slot(folder, path, backend="onnx"), folder)


def test_another_number_of_features_is_refused(folder: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="trained on 3 features, 1 are registered"):
        load(slot(folder, models.sklearn_file(tmp_path), features=["efficiency_pct"]), folder)
    own = slot(folder, models.onnx_file(tmp_path), backend="onnx", features=["efficiency_pct"])
    with pytest.raises(ModelError, match="takes 3 features, 1 are registered"):
        load(own, folder)


def test_a_token_that_is_not_set_is_named_and_no_other_variable(folder: ModelFolder) -> None:
    own = slot(folder, backend="http", artifact="http://127.0.0.1:1/x", token_env=NO_TOKEN)
    with pytest.raises(ModelError, match=f"{NO_TOKEN} is not set"):
        load(own, folder)
    assert json.loads(own.model_dump_json())["token_env"] == NO_TOKEN


def test_a_tree_that_points_outside_of_itself_is_refused(
    folder: ModelFolder, tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).random((200, 3)).astype(np.float32)
    boosted = HistGradientBoostingRegressor(max_iter=2).fit(rows, rows[:, 0])
    sound = models.written(tmp_path / "sound.skops", skops.io.dumps(boosted))
    assert np.isfinite(asked(slot(folder, sound), folder).value).all()
    nodes = boosted._predictors[0][0].nodes
    nodes["left"][nodes["is_leaf"] == 0] = 2**31 - 1
    broken = models.written(tmp_path / "broken.skops", skops.io.dumps(boosted))
    with pytest.raises(ModelError, match="nodes point outside"):
        load(slot(folder, broken), folder)


def test_a_key_in_an_address_is_not_told(folder: ModelFolder) -> None:
    with models.server(lambda _rows: 404) as (url, _):
        own = slot(folder, backend="http", artifact=f"{url}?api_key=S3CRET")
        with pytest.raises(ModelError, match="status 404") as refusal:
            asked(own, folder)
    assert "S3CRET" not in str(refusal.value)
    with pytest.raises(ValueError, match="no place for secrets"):
        slot(folder, backend="http", artifact="http://me:secret@127.0.0.1/x")
