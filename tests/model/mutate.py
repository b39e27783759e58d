#!/usr/bin/env python3
"""mutate.py - breaks one step of the model's formulas at a time and expects the golden test to notice.

    mutate.py ROOT GOLDEN MODEL WORK_DIR CC LIB...

kernels/cpu/ref.c, the definition of every op, is copied, one mistake that people make is put into the copy, and the
golden test is linked against it in place of the library's.  A mistake that the test does not notice fails this one, and
so does one whose place is no longer in ref.c: then it has to be written anew.  Standard library only.
"""
import os
import subprocess
import sys

# name, [(what stands in ref.c, what it becomes)].  How far each moves the logits: docs/MODEL.md.
MUTATIONS = [
    ("value heads grouped, not tiled", [("q + h % s->n_kh * d, k + h % s->n_kh * d",
                                         "q + h / (s->n_vh / s->n_kh) * d, k + h / (s->n_vh / s->n_kh) * d")]),
    ("no 1/sqrt(d) on q", [("ref_l2(q + g * d, d, 1.0 / sqrt(d))", "ref_l2(q + g * d, d, 1.0)")]),
    ("no L2 norm on k", [("ref_l2(k + g * d, d, 1.0);", "")]),
    ("convolution taps reversed", [("(double)w[(int64_t)(n_tap - 1) * n_ch] * (double)qkv[c]", "(double)w[0] * (double)qkv[c]"),
                                   ("y += (double)w[(int64_t)j * n_ch] * (double)conv",
                                    "y += (double)w[(int64_t)(n_tap - 1 - j) * n_ch] * (double)conv")]),
    ("no SiLU after the convolution", [("ref->mixed[c] = (float)(y * ref_sigmoid(y))", "ref->mixed[c] = (float)y")]),
    ("prediction from the undecayed state", [("recalled += (double)row[i] * (double)k[i]",
                                              "recalled += (double)row[i] / decay * (double)k[i]")]),
    ("state read before the update", [("read += (double)row[i] * (double)q[i]",
                                       "read += ((double)row[i] - delta * (double)k[i]) * (double)q[i]")]),
    ("no decay", [("row[i] = (float)(decay * (double)row[i])", "(void)decay")]),
    ("beta without sigmoid", [("ref_sigmoid((double)op->beta[at])", "(double)op->beta[at]")]),
    ("dt left out", [("(double)op->alpha[at] + (double)op->dt[h]", "(double)op->alpha[at]")]),
    ("a exponentiated again", [("exp((double)op->a[h] * softplus)", "exp(-exp((double)op->a[h]) * softplus)")]),
    ("DeltaNet gate sigmoid, not SiLU", [("* (double)z[j] * ref_sigmoid((double)z[j])", "* ref_sigmoid((double)z[j])")]),
    ("DeltaNet gate before the norm", [("sum += o[j] * o[j];",
                                        "sum += pow(o[j] * (double)z[j] * ref_sigmoid((double)z[j]), 2);")]),
    ("rope on neighbouring pairs", [("b = (double)out[i + half];", "b = (double)out[2 * i + 1];"),
                                    ("const double a = (double)out[i],", "const double a = (double)out[2 * i],"),
                                    ("out[i] = (float)(a * cos(angle)", "out[2 * i] = (float)(a * cos(angle)"),
                                    ("out[i + half] = (float)(b", "out[2 * i + 1] = (float)(b")]),
    ("rope over the whole head", [("const int half = op->n_rot / 2;", "const int half = d / 2;"),
                                  ("-2.0 * i / op->n_rot", "-2.0 * i / d")]),
    ("no norm of q and k", [("ref_rms(out, x, norm_w, d, op->eps);", "memcpy(out, x, (size_t)d * sizeof(*x));")]),
    ("query heads share KV heads in turn", [("h / (ref->s.n_qh / ref->s.n_kvh)", "h % ref->s.n_kvh")]),
    ("scores not divided by sqrt(d)", [("(double)ref_dot(ref->head, ref->row, d) / sqrt(d)",
                                        "(double)ref_dot(ref->head, ref->row, d)")]),
    ("attention gate left out", [("(float)(ref->sum[i] * ref_sigmoid((double)gate[i]))", "(float)(ref->sum[i] + 0 * *gate)")]),
    ("attention sees one position too few", [("for (int p = 0; p <= pos; p++)\n        ref->score[p] /= total;",
                                              "for (int p = 0; p <= pos; p++)\n        ref->score[p] = p < pos || !pos ? "
                                              "ref->score[p] / total : 0;")]),
    ("norm weight plus one", [("(float)((double)x[i] * scale * (double)w[i])",
                               "(float)((double)x[i] * scale * (1 + (double)w[i]))")]),
    ("MLP gate sigmoid, not SiLU", [("(double)ref->gate[i] * ref_sigmoid((double)ref->gate[i])",
                                     "ref_sigmoid((double)ref->gate[i])")]),
    ("convolution forgets its window", [("memcpy(conv + (int64_t)(n_tap - 2) * n_ch, qkv",
                                         "memset(conv + (int64_t)(n_tap - 2) * n_ch, 0")]),
]


def run(argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Builder:
    def __init__(self, root, work, cc, libs):
        self.root, self.work, self.cc, self.libs = root, work, cc, libs
        self.objects = [self.compile(os.path.join(root, "tests/model", f)) for f in ("test_golden.c", "golden.c")]

    def compile(self, source):
        out = os.path.join(self.work, os.path.basename(source) + ".o")
        done = run([*self.cc, "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-w", "-ffp-contract=off", "-I", self.root, "-c",
                    source, "-o", out])
        if done.returncode:
            sys.exit(f"{source} does not compile:\n{done.stdout}")
        return out

    def link(self, ref_source):
        """The golden test with ref_source in place of the library's ref.c: its symbols come first."""
        out = os.path.join(self.work, "mutant")
        wraps = ["-Wl,--wrap=" + f for f in ("malloc", "calloc", "realloc", "model_forward")]
        done = run([*self.cc, *self.objects, self.compile(ref_source), *wraps, "-Wl,--start-group", *self.libs,
                    "-Wl,--end-group", "-lcmocka", "-ljansson", "-lm", "-pthread", "-o", out])
        if done.returncode:
            sys.exit(f"{ref_source} does not link:\n{done.stdout}")
        return out


def mutate(source, name, changes):
    for old, new in changes:
        if source.count(old) != 1:
            sys.exit(f"{name}: ref.c has {source.count(old)} times, should have once: {old}")
        source = source.replace(old, new)
    return source


def main():
    root, golden, model, work, cc, *libs = sys.argv[1:]
    os.makedirs(work, exist_ok=True)
    builder = Builder(root, work, cc.split("\t"), libs)
    with open(os.path.join(root, "kernels/cpu/ref.c"), encoding="utf-8") as f:
        original = f.read()
    missed = []
    for name, changes in [("nothing changed", [])] + MUTATIONS:
        path = os.path.join(work, "ref.c")
        with open(path, "w", encoding="utf-8") as f:
            f.write(mutate(original, name, changes))
        done = run([builder.link(path), golden, "ref", model, "test_logits_are_near_the_reference"])
        # A mutant must fail by its logits, not by a crash or for want of a file.
        noticed = done.returncode == 1 and "max " in done.stdout
        expected = noticed if changes else done.returncode == 0
        said = next((line for line in done.stdout.splitlines() if line.startswith("max ")), done.stdout.strip())
        print(f"{'ok  ' if expected else 'MISS'} {name}: {said.split('(')[0].strip()}", flush=True)
        if not expected:
            missed.append(name)
    if missed:
        sys.exit("not noticed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
