"""Muon for the matrices and AdamW for the rest, over parameters that all processes of a run share.

Parameters, moments and every process's gradients are flat arrays in shared memory.  Each process sums the gradients
of the part that it owns and updates that part, so two processes share the optimiser's work as well as the rows.
Towards the end of a run the model may compute with weights rounded to four bits while their exact values are updated:
so the values settle where rounding hurts least, and the Q4_K_M file loses less.
Muon: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the update scaled as in
Liu et al., "Muon is scalable for LLM training" (2025), equation 4, so that one learning rate serves both.
"""

import math

import torch

ADAM_BETAS, ADAM_EPS = (0.9, 0.98), 1e-8
MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the quintic's coefficients, from the first source; five rounds
WEIGHT_DECAY = 0.1  # times the learning rate, matrices of Muon only
EMBEDDING_DECAY = 0.01
SMALL = 16  # a matrix with fewer rows (the DeltaNet gates) gains nothing from orthogonality
SPIKE = 6.0  # a gradient this many times the usual norm is not applied
USUAL = 0.98  # how slowly the usual norm follows
SUB_BLOCK, LEVELS = 32, 15  # of Q4_K: values that share a scale and an offset, and the greatest of their numbers


def is_muon(name, p, kind):
    return kind == "muon" and p.dim() == 2 and min(p.shape) >= SMALL and "embed" not in name


def is_rounded(name, p):
    """Muon's matrices are among these; the embedding is Q6_K in the file, which needs no help."""
    return p.dim() == 2 and "embed" not in name


def orthogonalize(x):
    """[n, rows, cols] -> about the nearest matrices with singular values one, by Newton-Schulz in bfloat16."""
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).bfloat16()
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        square = x @ x.transpose(1, 2)
        x = a * x + (b * square + c * (square @ square)) @ x
    return (x.transpose(1, 2) if tall else x).float()


def rounded(x):
    """x [n] as Q4_K would hold it, the rounding of scales left aside; n a multiple of SUB_BLOCK."""
    x = x.view(-1, SUB_BLOCK)
    low = x.amin(1, keepdim=True).clamp_(max=0)
    scale = (x.amax(1, keepdim=True) - low).div_(LEVELS).clamp_(min=1e-12)
    return ((x - low) / scale).round_().mul_(scale).add_(low).view(-1)


def is_draft(name):
    """The draft head starts when the body is nearly done: its first gradients are hundreds of times the body's, which
    must neither be clipped by them nor be taken for a spike."""
    return name.startswith("mtp.")


class Part:
    """What one process owns: [first, muon_end) are Muon's matrices, ordered by shape, [muon_end, end) AdamW's."""

    def __init__(self, first):
        self.first = self.muon_end = self.end = first
        self.matrices_end = first  # [first, matrices_end) is what Q4_K_M rounds to about four bits
        self.groups = []  # (offset, number, shape) of equal matrices
        self.decayed = []  # (offset, end) of AdamW's matrices
        self.body, self.draft = [], []  # (offset, end) of the body's parameters and of the draft head's


def divide(named, n_procs, kind):
    """Shares out the parameters: per process a list, by descending work; Muon's cost grows with the size too."""
    parts = [[] for _ in range(n_procs)]
    load = [0] * n_procs
    for name, p in sorted(named, key=lambda np: (-np[1].numel(), np[0])):
        lightest = load.index(min(load))
        parts[lightest].append((name, p))
        load[lightest] += p.numel() * (4 if is_muon(name, p, kind) else 1)
    return parts


class Shared:
    """The flat arrays: `values` are updated, `shown` is what the model's parameters are views of.

    Make it before the processes start.
    """

    def __init__(self, model, n_procs, kind):
        named = list(model.named_parameters())
        n = sum(p.numel() for _, p in named)
        self.kind, self.n_procs = kind, n_procs
        self.values, self.shown, self.first, self.second = (torch.zeros(n).share_memory_() for _ in range(4))
        self.grads = torch.zeros(n_procs, n).share_memory_()
        self.squares = torch.zeros(n_procs, 2).share_memory_()  # of the body's gradients, of the draft head's
        self.places, self.parts = {}, []
        at = 0
        for owned in divide(named, n_procs, kind):
            at = self.lay(owned, at)
        self.show(False)

    def show(self, rounds, parts=None):
        """Makes the model see the values, of some parts or of all; with rounded matrices or without."""
        for part in parts or self.parts:
            every, matrices = slice(part.first, part.end), slice(part.first, part.matrices_end)
            self.shown[every] = self.values[every]
            if rounds:
                self.shown[matrices] = rounded(self.values[matrices])

    def lay(self, owned, at):
        part = Part(at)
        owned.sort(key=lambda np: (not is_rounded(*np), not is_muon(*np, self.kind), tuple(np[1].shape), np[0]))
        for name, p in owned:
            end = at + p.numel()
            self.values[at:end] = p.detach().reshape(-1)
            p.data = self.shown[at:end].view(p.shape)
            self.places[name] = (at, end)
            (part.draft if is_draft(name) else part.body).append((at, end))
            if is_muon(name, p, self.kind):
                self.extend_groups(part, at, tuple(p.shape))
                part.muon_end = end
            elif p.dim() == 2:
                part.decayed.append((at, end))
            at = end
            if is_rounded(name, p):
                part.matrices_end = end
        part.end = at
        self.parts.append(part)
        return at

    @staticmethod
    def extend_groups(part, at, shape):
        if part.groups and part.groups[-1][2] == shape:
            offset, n, _ = part.groups.pop()
            part.groups.append((offset, n + 1, shape))
        else:
            part.groups.append((at, 1, shape))

    def adopt(self, model, rank):
        """Lets autograd add this process's gradients straight into its flat array."""
        for name, p in model.named_parameters():
            at, end = self.places[name]
            p.grad = self.grads[rank, at:end].view(p.shape)


class Optimizer:
    """One process's side.  `wait` is a barrier; every process calls step() at the same time with the same numbers."""

    def __init__(self, shared, rank, wait):
        self.shared, self.rank, self.wait = shared, rank, wait
        self.part = shared.parts[rank]
        self.usual = None  # running norm of the gradients

    @torch.no_grad()
    def step(self, lr, clip, n_steps, rounds):
        """n_steps: updates so far, this one included; rounds: show rounded matrices from now on.

        Returns (gradient norm of the body, applied); all gradients are zero after.
        """
        s, part = self.shared, self.part
        self.wait()
        grad = s.grads[:, part.first : part.end].sum(0)
        groups = [[grad[at - part.first : end - part.first] for at, end in x] for x in (part.body, part.draft)]
        s.squares[self.rank] = torch.tensor([sum(float(g.square().sum()) for g in group) for group in groups])
        self.wait()
        s.grads[self.rank].zero_()
        norms = s.squares.sum(0).sqrt().tolist()
        applied = self.accept(norms[0]) and math.isfinite(norms[1])
        if applied:
            for norm, group in zip(norms, groups):
                for g in group:
                    g *= min(1.0, clip / (norm + 1e-6))
            self.update(grad, lr, n_steps)
            s.show(rounds, [part])
        self.wait()
        return norms[0], applied

    def accept(self, norm):
        """A spike is skipped but raises the usual norm a little, so a lasting change is followed after some steps."""
        if norm != norm or norm == float("inf"):
            return False
        usual = norm if self.usual is None else self.usual
        spike = norm > SPIKE * usual
        self.usual = USUAL * usual + (1 - USUAL) * min(norm, SPIKE * usual)
        return not spike

    def update(self, grad, lr, n_steps):
        s, part = self.shared, self.part
        for offset, n, shape in part.groups:
            end = offset + n * shape[0] * shape[1]
            g = grad[offset - part.first : end - part.first].view(n, *shape)
            momentum = s.first[offset:end].view(n, *shape)
            momentum.lerp_(g, 1 - MUON_MOMENTUM)
            direction = orthogonalize(g.lerp(momentum, MUON_MOMENTUM))
            values = s.values[offset:end].view(n, *shape)
            values.mul_(1 - lr * WEIGHT_DECAY).add_(direction, alpha=-lr * 0.2 * max(shape) ** 0.5)
        for at, end in part.decayed:
            s.values[at:end].mul_(1 - lr * EMBEDDING_DECAY)
        self.adam(slice(part.muon_end, part.end), grad[part.muon_end - part.first :], lr, n_steps)

    def adam(self, where, grad, lr, n_steps):
        s, (beta1, beta2) = self.shared, ADAM_BETAS
        first, second = s.first[where], s.second[where]
        first.lerp_(grad, 1 - beta1)
        second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = (second / (1 - beta2**n_steps)).sqrt_().add_(ADAM_EPS)
        s.values[where].addcdiv_(first, root, value=-lr / (1 - beta1**n_steps))
