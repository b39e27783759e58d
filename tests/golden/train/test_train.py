"""The trainer and the exporter: test_train.py QWEND-PROBE.  Skipped (77) where requirements.txt is not installed.

What is compared with another implementation: logits and gradients with Hugging Face's classes, quantised blocks with
qwend-probe's reader.  The rest is properties: a stopped run ends as one that was not, packed documents do not see each other."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import gguf
    import numpy as np
    import torch

    import batches
    import check_hf
    import export
    import quantize
    import train
    from model import CHUNK, Config, Model
    from optimizer import SPIKE, Optimizer, Shared
except ModuleNotFoundError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PROBE = sys.argv.pop(1) if len(sys.argv) > 1 else None
SMALL = {"n_vocab": 2048, "n_ff": 256}


def write_data(folder, lengths, seed=0):
    """Random documents; the second half of each is learnt."""
    r = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    r.integers(0, 2000, sum(lengths)).astype("<u2").tofile(folder / "tokens.u16")
    np.concatenate([np.arange(n) >= n // 2 for n in lengths]).astype("u1").tofile(folder / "mask.u8")
    np.cumsum([0, *lengths[:-1]]).astype("<u4").tofile(folder / "docs.u32")


def recipe(folder, procs):
    return {
        "data": str(folder), "seed": 3, "procs": procs, "compile": False, "steps": 4, "rows": 2, "row_tokens": 64,
        "optimizer": {"kind": "muon", "lr": 1e-3, "warmup_steps": 2, "decay_from": 0.5, "final": 0.1, "clip": 1.0},
        "mtp": {"from": 0.5, "rows": 1.0}, "quantize": {"from": 0.75}, "model": SMALL, "phase": [{"data": "data", "share": 1.0}],
    }  # fmt: skip


class InFolder(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = Path(held.name)
        torch.manual_seed(1)
        torch.set_num_threads(1)


class Arithmetic(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        self.own = Model(Config(**SMALL))
        self.hf = check_hf.hf_model(self.own.c, self.own.state_dict())
        self.ids = torch.randint(0, 2048, (2, 3 * CHUNK))

    def test_logits_and_gradients_are_those_of_the_hf_classes(self):
        mine, theirs = self.own.logits(self.ids), self.hf(input_ids=self.ids).logits
        self.assertLess(float((mine - theirs).abs().max()), 1e-4)
        mine.square().sum().backward()
        theirs.square().sum().backward()
        for name, p in self.hf.named_parameters():
            got = self.own.get_parameter(name).grad
            self.assertLess(float((got - p.grad).abs().max() / p.grad.abs().max()), 1e-3, name)

    def test_packed_documents_do_not_see_each_other(self):
        parts = [37, 27, 3 * CHUNK - 64]
        pos = torch.cat([torch.arange(n) for n in parts]).expand(2, -1)
        with torch.no_grad():
            packed = self.own.head(self.own.hidden(self.ids, pos, torch.float32), torch.float32)
            alone = torch.cat([self.hf(input_ids=x).logits for x in self.ids.split(parts, 1)], 1)
        self.assertLess(float((packed - alone).abs().max()), 1e-4)


class Packing(InFolder):
    def open(self, lengths, **other):
        write_data(self.folder / "data", lengths)
        data = batches.Dataset(self.folder / "data", 1, 64)
        return data, batches.Batches([batches.Phase(data, 1.0, 0.0, 1.0)], 4, 64, **{"n_steps": 64, "seed": 5} | other)

    def test_rows_hold_whole_documents_and_their_learnt_targets(self):
        lengths = [int(n) for n in np.random.default_rng(2).integers(5, 30, 1600)]
        data, plan = self.open(lengths)
        ids, pos, targets = plan.rows(7)
        known = {bytes(data.tokens[a:b]): data.mask[a + 1 : b] for a, b in zip(data.bounds, data.bounds[1:])}
        seen = 0
        for row in range(4):
            starts = [*np.flatnonzero(pos[row] == 0), 64]
            for a, b in zip(starts, starts[1:]):
                tokens = ids[row, a:b].astype("<u2")
                if bytes(tokens) in known:
                    seen += len(tokens)
                    learnt = np.where(known[bytes(tokens)], tokens[1:].astype(int), -1)
                    self.assertEqual(targets[row, a : b - 1].tolist(), learnt.tolist())
                else:
                    self.assertTrue((targets[row, a:b] == -1).all())  # the idle end of a row
        self.assertGreater(seen, 0.9 * ids.size)

    def test_a_document_comes_once_an_epoch(self):
        data, _ = self.open([10] * 500)
        self.assertEqual(sorted(data.between(0, 5000)), list(range(500)))
        halves = [*data.between(0, 1234), *data.between(1234, 5000)]
        self.assertEqual(sorted(halves), list(range(500)))
        self.assertNotEqual(list(data.between(0, 5000)), list(data.between(5000, 10000)))

    def test_bad_data_is_named(self):
        with self.assertRaisesRegex(batches.DataError, "document 1 has 65 tokens, a row only 64"):
            self.open([10, 65])
        (self.folder / "data" / "mask.u8").write_bytes(b"\0")
        with self.assertRaisesRegex(batches.DataError, "mask.u8 has 1 entries, tokens.u16 75"):
            batches.Dataset(self.folder / "data", 1, 128)


class Running(InFolder):
    def run_in(self, name, procs, minutes=1e9):
        step = train.train(recipe(self.folder, procs), self.folder / name, minutes)
        return step, torch.load(self.folder / name / "checkpoint.pt", weights_only=True)

    def test_a_stopped_run_ends_with_the_same_bits(self):
        write_data(self.folder / "data", [31, 20, 64, 12] * 40)
        _, whole = self.run_in("whole", 2)
        step = 0
        for leg in range(1, 5):
            step, legs = self.run_in("legs", 2, minutes=0)
            self.assertEqual(step, leg)
        self.assertTrue(torch.equal(whole["values"], legs["values"]))

    def test_another_recipe_is_refused(self):
        write_data(self.folder / "data", [31, 20] * 80)
        self.run_in("run", 1, minutes=0)
        other = recipe(self.folder, 1) | {"seed": 4}
        with self.assertRaisesRegex(train.RecipeError, "made with another recipe"):
            train.train(other, self.folder / "run", 1)

    def test_a_wrong_recipe_is_named(self):
        good = (train.Path(train.__file__).parent / "recipe.toml").read_text(encoding="utf-8")
        cases = {
            "seed = 1": ("sead = 1", "unknown keys: sead, seed"),
            "rows = 0.5": ("rows = 16", "mtp.rows is 16, not a number from 0 to 1"),
            'kind = "muon"': ('kind = "sgd"', "optimizer.kind is neither"),
            "n_layers = 4": ("n_layers = 5", "n_layers 5 is no multiple of interval 4"),
            "share = 1.0": ("weight = 1.0", "phase 0 has the keys data, weight"),
        }
        path = self.folder / "recipe.toml"
        for old, (new, message) in cases.items():
            path.write_text(good.replace(old, new), encoding="utf-8")
            with self.assertRaisesRegex(train.RecipeError, message):
                train.read_recipe(path)
        path.write_text(good, encoding="utf-8")
        self.assertEqual(train.read_recipe(path)["model"]["n_layers"], 4)

    def test_a_spike_is_skipped(self):
        model = Model(Config(**SMALL))
        optimizer = Optimizer(Shared(model, 1, "muon"), 0, lambda: None)
        self.assertTrue(optimizer.accept(1.0))
        self.assertFalse(optimizer.accept(SPIKE * 1.5))
        self.assertFalse(optimizer.accept(float("nan")))
        self.assertTrue(optimizer.accept(1.1))


class Quantising(unittest.TestCase):
    KINDS = {"Q4_K": (quantize.quantize_q4_k, 0.08), "Q6_K": (quantize.quantize_q6_k, 0.02)}

    def test_errors_are_small_for_every_kind_of_row(self):
        r = np.random.default_rng(0)
        rows = r.normal(size=(64, 512)).astype(np.float32)
        for x in (rows, rows * 1e3, np.abs(rows), -np.abs(rows), np.full_like(rows, -0.3), np.zeros_like(rows)):
            for name, (function, limit) in self.KINDS.items():
                back = gguf.quants.dequantize(function(x), gguf.GGMLQuantizationType[name])
                self.assertLessEqual(np.sqrt(((back - x) ** 2).mean()), limit * np.sqrt((x**2).mean()), name)

    @unittest.skipUnless(PROBE, "no qwend-probe given")
    def test_qwend_reads_the_blocks_as_they_are_meant(self):
        x = np.random.default_rng(1).normal(size=(8, 256)).astype(np.float32)
        for name, (function, _) in self.KINDS.items():
            blocks = function(x)
            got = subprocess.run([PROBE, "dequant", name], input=blocks.tobytes(), capture_output=True, check=True)
            expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])
            self.assertEqual(got.stdout, expected.astype("<f4").tobytes())


class Exporting(InFolder):
    def setUp(self):
        super().setUp()
        write_data(self.folder / "data", [31, 20] * 80)
        train.train(recipe(self.folder, 1), self.folder / "run", 0)
        self.checkpoint = self.folder / "run" / "checkpoint.pt"

    def write(self, kind):
        out = self.folder / f"{kind}.gguf"
        export.export(self.checkpoint, export.HERE / "tokenizer.json", out, kind)
        return out

    def test_a_file_holds_what_was_trained(self):
        config, state = check_hf.load_gguf(self.write("F32"))
        expected, values = export.load_checkpoint(self.checkpoint)
        self.assertEqual(config, expected)
        self.assertEqual(set(state), set(values))
        for name, x in values.items():  # a norm is stored as 1 + w, a decay as -exp(w)
            self.assertLess(np.abs(state[name].numpy() - x).max(), 1e-6, name)

    @unittest.skipUnless(PROBE, "no qwend-probe given")
    def test_qwend_loads_every_type(self):
        for kind in export.TYPES:
            done = subprocess.run([PROBE, "inspect", self.write(kind), "--json"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_rows_too_short_for_a_block_are_refused(self):
        with self.assertRaisesRegex(export.ExportError, "ffn_up.weight: rows of 100 values cannot be Q4_K"):
            export.quantize("blk.0.ffn_up.weight", np.zeros((4, 100), np.float32), gguf.GGMLQuantizationType.Q4_K)


if __name__ == "__main__":
    unittest.main()
