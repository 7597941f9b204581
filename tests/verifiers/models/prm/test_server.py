"""Scores of a vLLM pooling server against those of the same model in this process."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch

from journeyman.agent.data import Status
from journeyman.agent.errors import SamplerError, SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin


def prm(folder, **options):
    return load_plugin(VERIFIERS, "prm", {"model": str(folder), **options})


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("family", ["qwen", "token_classification", "math_shepherd"])
def test_a_vllm_server_gives_the_scores_of_this_process(model_folder, tests, serve_vllm, family):
    arguments = ["--runner", "pooling", "--max-model-len", "256"]
    if family == "qwen":
        folder, _, tokenizer = model_folder("Qwen2ForCausalLM", hidden=64)
        torch.manual_seed(1)
        shapes = {"score.0.weight": (64, 64), "score.0.bias": (64,), "score.2.weight": (2, 64), "score.2.bias": (2,)}
        head = {name: torch.randn(shape) / 2 for name, shape in shapes.items()}
        tests.save_beside(folder, head, "Qwen2ForProcessRewardModel")
        marker = tokenizer.convert_tokens_to_ids("<extra_0>")  # of the real tokenizer vLLM knows it
        arguments += ["--pooler-config", json.dumps({"step_tag_id": marker})]
    elif family == "token_classification":
        folder, _, _ = model_folder("Qwen2ForTokenClassification", hidden=64, num_labels=2)
    else:
        folder, _, _ = model_folder("MistralForCausalLM", hidden=64)
        overrides = {
            "architectures": ["MistralForSequenceClassification"],
            "classifier_from_token": ["+", "-"],
            "method": "no_post_processing",
        }
        arguments += ["--hf-overrides", json.dumps(overrides), "--pooler-config", '{"task": "token_classify"}']
    url = serve_vllm(folder, *arguments)
    texts = ["2 * 3 = 6\n\n1 + 6 <extra_0> = 7", "7", "so: +\n\n" * 9 + "done", "x\n\n" * 150]
    attempts = [(tests.task(), tests.said(text)) for text in texts]
    here = prm(folder, family=family, batch_tokens=300).verify_all(attempts)
    there = prm(folder, family=family, batch_tokens=300, url=url).verify_all(attempts)
    assert [verdict.status for verdict in there] == [Status.OK, Status.OK, Status.OK, Status.ERROR]
    assert there[3].explanation.endswith("are more than the 256 that the model reads: nothing is cut off")
    for mine, theirs in zip(here[:3], there[:3], strict=True):
        assert len(set(mine.step_scores)) > 1 or len(mine.step_scores) == 1
        assert theirs.step_scores == pytest.approx(mine.step_scores, abs=1e-3)


class Scripted(BaseHTTPRequestHandler):
    """A server that gives token i the logits (0, i / 10), of the tokens `only` or of all."""

    only = None

    def do_GET(self):
        self.answer({"data": [{"id": "served", "root": "somewhere", "max_model_len": 100}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.path, body["model"], body["use_activation"]) == ("/pooling", "served", False)
        rows = [[[0, i / 10] for i, t in enumerate(ids) if self.only in (None, t)] for ids in body["input"]]
        self.answer({"data": [{"index": i, "data": row} for i, row in reversed(list(enumerate(rows)))]})

    def answer(self, row):
        right = self.headers.get("Authorization") == "Bearer 1234"
        self.send_response(200 if right else 401)
        self.end_headers()
        self.wfile.write(json.dumps(row).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setenv("JOURNEYMAN_PRM_API_KEY", "1234")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def folder(model_folder):
    return model_folder("LlamaForTokenClassification", num_labels=2)[0]


def good(*places):
    """The probability of class 1 at these tokens."""
    return pytest.approx(torch.tensor(places).double().div(10).sigmoid().tolist())


def test_answers_are_put_in_order_and_read_at_each_step(folder, tests, scripted):
    verifier = prm(folder, url=f"{scripted}/v1/", batch_tokens=40)
    texts = ["abc\nde", "a", "x" * 100, "fgh"]
    first, second, long, third = verifier.verify_all([(tests.task("?"), tests.said(text)) for text in texts])
    assert first.step_scores == good(5, 8)  # <bos> ? a b c \n d e \n
    assert second.step_scores == good(3)
    assert third.step_scores == good(5)
    assert long.explanation == "103 tokens are more than the 100 that the model reads: nothing is cut off"


def test_step_pooling_gives_rows_of_separators_only(folder, tokenizer, tests, scripted, monkeypatch):
    monkeypatch.setattr(Scripted, "only", tokenizer.convert_tokens_to_ids("Ċ"))
    given = [(tests.task("?"), tests.said("abc\nd\n\ne"))]
    assert prm(folder, url=scripted, split="blank_line").verify_all(given)[0].step_scores == good(7, 9)

    monkeypatch.setattr(Scripted, "only", tokenizer.convert_tokens_to_ids("a"))
    with pytest.raises(SamplerError, match="1 rows for 10 tokens, 3 of them separators: serve it with --pooler-config"):
        prm(folder, url=scripted, split="blank_line").verify_all(given)


def test_what_a_server_refuses_is_raised(folder, tests, scripted, monkeypatch):
    given = [(tests.task("?"), tests.said("a"))]
    monkeypatch.setenv("JOURNEYMAN_PRM_API_KEY", "wrong")
    with pytest.raises(SettingsError, match="refuses the API key, or asks for one: see option 'api_key_variable'"):
        prm(folder, url=scripted).verify_all(given)
    with pytest.raises(SamplerError, match="/v1/models gave no answer"):
        prm(folder, url="http://127.0.0.1:9", timeout=1).verify_all(given)
    with pytest.raises(SettingsError, match="'localhost:8000' is no http URL"):
        prm(folder, url="localhost:8000")
