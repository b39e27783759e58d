#!/usr/bin/env python3
"""nvcc.py ROOT [--write | ARCH...] [FILE.cu...] - the CUDA sources compile for every architecture that they are meant for, no kernel
spills, and each keeps to its bounds in nvcc-bounds.txt: registers, static shared memory, local memory.  Of all sources,
or of those that are named.

What ptxas makes of a kernel differs between releases, so bounds hold for the release that the table names; of another one only
spills are refused.  --write makes the table anew.  A GPU is not needed.  NVCC names a compiler that is not in PATH; exit 77
(skipped) where there is none.  `nvcc.py --self-test` proves that what must be refused is, with planted output of a compiler, and
with planted kernels where there is a real one."""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

ARCHS = ("80", "86", "89", "90", "120")
TABLE = "tests/lint/nvcc-bounds.txt"
FLAGS = ("-std=c++17", "-O3", "-fmad=false", "--Werror", "all-warnings", "-Xptxas", "-v", "-I.", "-o", "/dev/null")
HEAD = """\
# What each kernel may need at most, for each architecture: registers / bytes of static shared memory, and / bytes of
# local memory where that is meant.  Checked and written by tests/lint/nvcc.py.  More may mean fewer blocks on a
# multiprocessor, or traffic that nobody counted: it is for a review to accept.
"""


class Use(NamedTuple):
    """What ptxas says of one function; registers is None where it is not a kernel."""
    registers: int | None
    shared: int
    local: int
    spilled: int


class Refused(Exception):
    """Nothing can be checked."""


def read_release(nvcc):
    """CUDA 13.2 miscompiles kernels that unpack low-bit values: no build of ours may come from it."""
    said = subprocess.run([nvcc, "--version"], check=False, capture_output=True, text=True).stdout
    found = re.search(r"release (\d+)\.(\d+), V([\d.]+)", said)
    if not found or (int(found[1]), int(found[2])) < (11, 8):
        raise Refused(f"{nvcc} says of itself {said.strip()!r}: release 11.8 or later is needed")
    if (found[1], found[2]) == ("13", "2"):
        raise Refused("nvcc 13.2 miscompiles low-bit kernels: use 13.0, 13.1 or a later one")
    return found[3]


def find_sources(root):
    found = []
    for top in ("kernels", "tests"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                path = os.path.join(folder, name)
                if not name.endswith(".cu"):
                    continue
                with open(path, encoding="utf-8") as f:
                    if "int main" not in f.read():   # faults on purpose, for the host only
                        found.append(os.path.relpath(path, root))
    return sorted(found)


def read_log(log):
    """{mangled name: Use} of the lines of -Xptxas -v."""
    uses, name, local, spilled = {}, None, 0, 0
    for line in log.splitlines():
        if found := re.search(r"Function properties for (\S+)", line):
            name = found[1]
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            local, spilled = int(found[1]), int(found[2]) + int(found[3])
            uses[name] = Use(None, 0, local, spilled)
        elif found := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            uses[name] = Use(int(found[1]), int(shared[1]) if shared else 0, local, spilled)
    return uses


def demangle(names):
    """{mangled: name<arguments of the template>}"""
    names = sorted(names)
    plain = subprocess.run(["c++filt"], input="".join(n + "\n" for n in names), check=True, capture_output=True, text=True).stdout
    return {name: shorten(line) for name, line in zip(names, plain.splitlines(), strict=True)}


def shorten(name):
    """Without the type of the result and the parameters: a template's arguments tell its kernels apart."""
    depth = 0
    for i in range(len(name) - 1, -1, -1) if name.endswith(")") else ():
        depth += {")": 1, "(": -1}.get(name[i], 0)
        if depth == 0:
            name = name[:i]
            break
    name = re.sub(r"\(\w+\)(?=\d)", "", name.removeprefix("void "))   # (enum)2
    return name.replace(" ", "")


def compile_one(root, nvcc, extra, source, arch, whole):
    """(source, arch, Uses or None, what nvcc said).  The host's half is the same for each architecture, and most of the time."""
    command = [nvcc, *FLAGS, *extra, f"-arch=sm_{arch}", "-c" if whole else "-cubin", source]
    done = subprocess.run(command, cwd=root, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return source, arch, read_log(done.stdout) if done.returncode == 0 else None, done.stdout


def compile_all(root, nvcc, sources, archs, extra):
    """({(source, kernel, arch): Use}, faults of what may never be)"""
    faults, kernels, uses = [], {}, {}
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [pool.submit(compile_one, root, nvcc, extra, source, arch, arch == archs[0])
                for source in sources for arch in archs]
        done = [job.result() for job in jobs]
    names = demangle({name for _, _, found, _ in done for name in found or ()})
    for source, arch, found, said in done:
        if found is None:
            faults.append(f"{source}: sm_{arch}: does not compile\n{said}")
        for name, use in (found or {}).items():
            uses[source, names[name], arch] = use
    for (source, name, arch), use in uses.items():
        if use.spilled:
            faults.append(f"{source}: {name}: sm_{arch}: spills {use.spilled} bytes")
        if use.registers is not None:
            kernels[source, name, arch] = use
    return kernels, faults


def read_table(path):
    """(release, {(source, kernel, arch): (registers, shared, local)})"""
    release, archs, source, bounds = None, (), None, {}
    if not os.path.exists(path):
        raise Refused(f"{path} is missing: --write makes it")
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            words = line.split()
            if not words or line.startswith("#"):
                continue
            cells = [re.fullmatch(r"(\d+)/(\d+)(?:/(\d+))?", word) for word in words[1:]]
            if words[0] == "nvcc" and len(words) > 2 and not archs:
                release, archs = words[1], [word.removeprefix("sm_") for word in words[2:]]
            elif len(words) == 1 and not line.startswith(" ") and archs:
                source = words[0]
            elif source and len(cells) == len(archs) and all(cells) and (source, words[0], archs[0]) not in bounds:
                bounds.update({(source, words[0], arch): tuple(int(n or 0) for n in cell.groups())
                               for arch, cell in zip(archs, cells)})
            else:
                raise Refused(f"{path}:{number}: not a line of this table: {line.strip()}")
    return release, bounds


def write_table(path, release, kernels, archs):
    """kernels: {(source, kernel, arch): (registers, shared, local)}"""
    lines = [f"nvcc {release} " + " ".join(f"sm_{arch}" for arch in archs)]
    names = sorted({(source, name) for source, name, _ in kernels})
    for i, (source, name) in enumerate(names):
        if i == 0 or names[i - 1][0] != source:
            lines.append(f"\n{source}")
        uses = [kernels.get((source, name, arch)) for arch in archs]
        if None in uses:
            raise Refused(f"{source}: {name}: sm_{archs[uses.index(None)]}: is not there: a table's kernels are the same for all")
        cells = [f"{registers}/{shared}" + (f"/{local}" if local else "") for registers, shared, local in uses]
        lines.append(f"  {name:32} " + " ".join(f"{cell:>10}" for cell in cells))
    with open(path, "w", encoding="utf-8") as f:
        f.write(HEAD + "\n".join(lines) + "\n")


def bound_faults(kernels, bounds, only, archs):
    faults = []
    for key, use in kernels.items():
        where = f"{key[0]}: {key[1]}: sm_{key[2]}"
        if key not in bounds:
            faults.append(f"{where}: {use.registers} registers, {use.shared} bytes shared: is not in {TABLE}: --write adds it")
            continue
        for needs, bound, what in zip(use, bounds[key], ("registers", "bytes shared", "bytes of local memory")):
            if needs > bound:
                faults.append(f"{where}: {needs} {what}, at most {bound} are allowed ({TABLE})")
    faults += [f"{source}: {name}: sm_{arch}: is in {TABLE}, but there is no such kernel: --write takes it out"
               for source, name, arch in bounds
               if arch in archs and (not only or source in only) and (source, name, arch) not in kernels]
    return faults


def check(root, nvcc, archs=ARCHS, only=(), write=False, extra=()):
    """(faults, what else there is to say)"""
    release, table, notes = read_release(nvcc), os.path.join(root, TABLE), []
    held, bounds = (release, {}) if write and not only else read_table(table)
    if write and release != held:
        raise Refused(f"the table is of nvcc {held}, this is {release}: all of it has to be written anew")
    if strangers := sorted(set(only) - set(find_sources(root))):
        raise Refused(f"{strangers[0]}: is no CUDA source of {root}")
    known = subprocess.run([nvcc, "--list-gpu-arch"], check=True, capture_output=True, text=True).stdout.split()
    compiled = [arch for arch in archs if f"compute_{arch}" in known]
    if unknown := sorted(set(archs) - set(compiled)):
        said = f"nvcc {release} does not know " + ", ".join(f"sm_{arch}" for arch in unknown)
        if write or not compiled:
            raise Refused(said)
        notes.append(said)
    kernels, faults = compile_all(root, nvcc, only or find_sources(root), compiled, extra)
    if not kernels and not faults:
        raise Refused(f"nvcc {release} told of no kernel")
    if write:
        if not faults:
            kept = {key: bound for key, bound in bounds.items() if key[0] not in only}
            write_table(table, release, kept | {key: use[:3] for key, use in kernels.items()}, archs)
    elif release == held:
        faults += bound_faults(kernels, bounds, only, compiled)
        less = sum(use[:3] != bounds.get(key) for key, use in kernels.items())
        if less and not faults:
            notes.append(f"{less} need less than their bounds: --write lowers those")
    else:
        notes.append(f"bounds hold for nvcc {held}, this is {release}: only spills are refused")
    notes.append(f"nvcc {release}: {len({key[:2] for key in kernels})} kernels, {len(kernels)} with their architectures")
    return faults, notes


# ---- self-test

FAKE = """#!/bin/sh
here=$(dirname "$0")
case $1 in
--version) read -r release <"$here/release"; echo "Cuda compilation tools, release ${release%.*}, V$release" ;;
--list-gpu-arch) printf 'compute_%s\\n' 80 86 89 90 120 ;;
*) cat "$here/log" ;;
esac
"""
LOG = """ptxas info    : Compiling entry function '{name}' for 'sm_80'
ptxas info    : Function properties for {name}
    {local} bytes stack frame, {spilled} bytes spill stores, {spilled} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, {shared} bytes smem
"""
ONE, TWO = "_Z3oneILi8EEvPf", "_Z3twoPf"
SPILLER = """extern "C" __global__ void one(float *p)
{
    float v[48];
#pragma unroll
    for (int i = 0; i < 48; i++)
        v[i] = p[i * 32 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 48; i++)
        p[(i * 7 % 48) * 32 + threadIdx.x] = v[i] * v[(i + 1) % 48];
}
"""


def plant(root, name, text):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def expect(wanted, root, nvcc, **options):
    """wanted: in the first fault, or in what else is said if it begins with '+'; None: no fault."""
    try:
        faults, notes = check(root, nvcc, **options)
    except Refused as refused:
        faults, notes = [str(refused)], []
    said = "\n".join(notes if wanted is None or wanted.startswith("+") else faults[:1])
    if bool(faults) != (wanted is not None and not wanted.startswith("+")) or (wanted or "").lstrip("+") not in said:
        raise SystemExit(f"nvcc.py: expected {wanted!r}, got {faults} and {notes}")


def planted_log(root, *functions):
    use = {"name": ONE, "local": 0, "spilled": 0, "registers": 40, "shared": 64}
    plant(root, "log", "".join(LOG.format(**(use | changes)) for changes in functions))


def test_with_planted_output(root):
    nvcc = plant(root, "nvcc", FAKE)
    os.chmod(nvcc, 0o755)
    plant(root, "kernels/x.cu", "")
    plant(root, "tests/lint/empty", "")
    plant(root, "release", "13.0.88\n")
    planted_log(root, {}, {"name": TWO})
    expect("is missing", root, nvcc)
    expect(None, root, nvcc, write=True)
    expect("+2 kernels, 10 with", root, nvcc)
    planted_log(root, {"registers": 39}, {"name": TWO, "shared": 0})
    expect("+10 need less", root, nvcc)
    for changes, wanted in (({"registers": 41}, "one<8>: sm_80: 41 registers, at most 40"),
                            ({"shared": 65}, "one<8>: sm_80: 65 bytes shared, at most 64"),
                            ({"local": 8}, "one<8>: sm_80: 8 bytes of local memory, at most 0"),
                            ({"spilled": 4}, "one<8>: sm_80: spills 8 bytes"),
                            ({"name": "_Z3oneILi9EEvPf"}, "one<9>: sm_80: 40 registers, 64 bytes shared: is not in")):
        planted_log(root, changes, {"name": TWO})
        expect(wanted, root, nvcc)
    planted_log(root, {"local": 8}, {"name": TWO})
    expect(None, root, nvcc, write=True)
    expect("+2 kernels", root, nvcc)
    planted_log(root, {"local": 12}, {"name": TWO})
    expect("12 bytes of local memory, at most 8", root, nvcc)
    plant(root, "kernels/y.cu", "")
    planted_log(root, {})
    expect("kernels/z.cu: is no CUDA source", root, nvcc, only=("kernels/z.cu",))
    expect("one<8>: sm_80: 40 registers, 64 bytes shared: is not in", root, nvcc, only=("kernels/y.cu",))
    expect(None, root, nvcc, only=("kernels/y.cu",), write=True)
    expect("+1 kernels", root, nvcc, only=("kernels/y.cu",))
    os.remove(os.path.join(root, "kernels/y.cu"))
    expect("two: sm_80: is in", root, nvcc)
    plant(root, "log", "")
    expect("told of no kernel", root, nvcc)
    planted_log(root, {"registers": 255})
    for release, wanted in (("13.1.115", "+bounds hold for nvcc 13.0.88, this is 13.1.115"), ("11.8.89", "+only spills"),
                            ("13.2.51", "13.2 miscompiles"), ("10.2.89", "11.8 or later"), ("11.7.99", "11.8 or later"),
                            ("", "11.8 or later")):
        plant(root, "release", release + "\n")
        expect(wanted, root, nvcc)
    plant(root, "release", "13.1.115\n")
    planted_log(root, {"spilled": 4})
    expect("spills 8 bytes", root, nvcc)
    for broken in ("kernels/x.cu\n  one<8> 40/64\n", "nvcc 13.0.88 sm_80\nkernels/x.cu\n  one<8> 40/64 40/64\n",
                   "nvcc 13.0.88 sm_80\nkernels/x.cu\n  one<8> 40/a\n", "nvcc 13.0.88 sm_80\n  one<8> 40/64\n"):
        plant(root, TABLE, broken)
        expect("not a line of this table", root, nvcc)


def test_with_planted_kernels(root, nvcc):
    plant(root, "kernels/x.cu", SPILLER)
    expect(None, root, nvcc, archs=("80",), write=True)
    expect(None, root, nvcc, archs=("80",))
    _, bounds = read_table(os.path.join(root, TABLE))
    registers = bounds["kernels/x.cu", "one", "80"][0]
    with open(os.path.join(root, TABLE), encoding="utf-8") as f:
        plant(root, TABLE, f.read().replace(f" {registers}/0", f" {registers - 1}/0"))
    expect(f"{registers} registers, at most {registers - 1}", root, nvcc, archs=("80",))
    expect("spills", root, nvcc, archs=("80",), extra=("--maxrregcount=24",))
    plant(root, "kernels/x.cu", "x")
    expect("does not compile", root, nvcc, archs=("80",))


def self_test(nvcc):
    with tempfile.TemporaryDirectory(prefix="qwend-nvcc-") as root:
        test_with_planted_output(root)
        if nvcc:
            test_with_planted_kernels(root, nvcc)
    print("nvcc.py: all that must be refused is refused" + ("" if nvcc else "; no nvcc to see a planted kernel with"))


def main(arguments):
    nvcc = shutil.which(os.environ.get("NVCC") or "nvcc")
    if arguments == ["--self-test"]:
        self_test(nvcc)
        return 0
    root, write = (arguments or [None])[0], "--write" in arguments[1:]
    only, archs = ([a for a in arguments[1:] if re.fullmatch(form, a)] for form in (r".+\.cu", r"\d+"))
    if root is None or (write and archs) or len(arguments) != 1 + write + len(only) + len(archs):
        print("usage: nvcc.py ROOT [--write | ARCH...] [FILE.cu...] | --self-test", file=sys.stderr)
        return 2
    if not nvcc:
        print("no nvcc: nothing compiled")
        return 77
    nvcc = os.path.abspath(nvcc)
    try:
        faults, notes = check(root, nvcc, archs or ARCHS, only, write)
    except Refused as refused:
        faults, notes = [str(refused)], []
    print("\n".join(faults + notes))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
