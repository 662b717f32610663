"""Whether the network computes what it should on this device, in every precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgt_cli.checkpoints.load import network_from_state_dict
from rgt_cli.inference import NetworkUpscaler
from rgt_cli.inference.device import Precision
from rgt_cli.inference.selfcheck import GoldenTile
from rgt_cli.network.kernels import STRIP_VALUES, attend, computing
from tests.benchmarks.gpu.models import (
    DTYPES,
    HALVES,
    QUICK,
    RGT_FULL,
    RGT_S,
    bundled_network,
    decibels,
    halves,
    lively_rgt,
    photo,
    photo_tensor,
    relative_error,
    runner_of,
    usual_network,
)
from tests.benchmarks.gpu.steps import Goal, NotRun, Run, Section
from tests.helpers import DATA
from tests.helpers.golden import load_golden
from tests.helpers.networks import MICRO, random_rgt
from tests.network.reference_rgt import reference_rgt

SECTION = Section("correctness", "Correctness", seconds=110)
ODD_SIZES = [(1, 1), (1, 2), (3, 5), (2, 200), (200, 1), (33, 97), (65, 129)]
DEEP_SIZES = [(20, 1023), (64, 1024), (1030, 40)]
"""Heights and widths, in pixels, around the side from which on recursion is deeper."""
TOLERANCES = {"fp32": 2e-5, "fp16": 5e-3, "bf16": 4e-2}
"""The largest errors of attention to random values of unit variance."""


@SECTION.step(
    Goal(key="fp32", text="golden vectors of the published code, fp32: largest error", most=2e-5),
    Goal(key="finite", text="golden vectors: tiles that overflow fp16 or bf16", most=0),
    seconds=40,
)
def golden_vectors(run: Run) -> None:
    errors: list[float] = []
    psnr: dict[str, list[float]] = {precision: [] for precision in halves(run)}
    redone = 0
    for path in sorted((DATA / "golden").glob("*.safetensors")):
        golden = load_golden(path)
        for precision in ("fp32", *halves(run)):
            runner = runner_of(network_from_state_dict(golden.weights), run, precision)
            for image, expected in golden.pairs:
                with torch.inference_mode():
                    found = runner.infer(image.to(run.device)).cpu()
                if precision == "fp32":
                    errors.append(float((found - expected).abs().max()))
                else:
                    psnr[precision].append(decibels(found, expected))
            redone += runner.redone_tiles
    run.goal("fp32", max(errors))
    run.goal("finite", redone)
    for name, values in psnr.items():
        run.value(f"least PSNR, {name}", min(values), "dB", f"{len(values)} vectors")


@SECTION.step(
    Goal(key="fp16", text="lively weights, fp16 against fp32: least PSNR", least=55, unit="dB"),
    Goal(key="bf16", text="lively weights, bf16 against fp32: least PSNR", least=55, unit="dB"),
    Goal(key="finite", text="lively weights: tiles that overflow fp16 or bf16", most=0),
    seconds=40,
)
def lively_weights(run: Run) -> None:
    psnr: dict[str, list[float]] = {precision: [] for precision in HALVES}
    redone = 0
    configs = run.pick({"RGT-S": RGT_S, "RGT": RGT_FULL}, {"few blocks": QUICK})
    for name, config in configs.items():
        network = lively_rgt(config)
        for side in run.pick((64, 192), (48,)):
            image = photo_tensor(side, side).to(run.device)
            with torch.inference_mode():
                expected = runner_of(network, run, "fp32").infer(image)
                for precision in halves(run):
                    runner = runner_of(network, run, precision)
                    psnr[precision].append(decibels(runner.infer(image), expected))
                    redone += runner.redone_tiles
                    run.value(f"{name} at {side}, {precision}", psnr[precision][-1], "dB")
    for key, values in psnr.items():
        if values:
            run.goal(key, min(values))
        else:
            run.no_goal(key, "the processor emulates it")
    run.goal("finite", redone)


@SECTION.step(
    Goal(key="problems", text="the self-check of RGT-S and of the bundled model: problems", most=0),
    seconds=30,
)
def self_check(run: Run) -> None:
    """Run the self-check in each precision, whether or not it is remembered."""
    device, problems = torch.device(run.device), []
    for name, network in (usual_network(run), bundled_network()):
        golden = GoldenTile(network)
        for precision in ("fp32", *halves(run)):
            compared = golden.compare(device, DTYPES[precision], warm_up=True)
            note = f"attention: error {compared.attention_error:.1e}; {1000 * compared.seconds:.1f} ms"
            note += f"; PROBLEM: {compared.problem}" if compared.problem else ""
            run.value(f"{name}, {precision}", compared.psnr, "dB", note)
            problems += [compared.problem] if compared.problem else []
    run.goal("problems", len(problems), "; ".join(problems))


@SECTION.step(
    Goal(key="again", text="a tile that overflows fp16 is computed again: PSNR", least=40, unit="dB"),
    seconds=20,
)
def overflow(run: Run) -> None:
    if "fp16" not in halves(run):
        raise NotRun("the processor emulates fp16")
    network = lively_rgt(QUICK)
    with torch.no_grad():  # the first convolution overflows, and the layer after it normalizes
        network.conv_first.weight.mul_(1e7)
    image = photo_tensor(48, 48).to(run.device)
    runner = runner_of(network, run, "fp16")
    with torch.inference_mode():
        found = runner.infer(image)
        expected = runner_of(network, run, "fp32").infer(image)
    scale = expected.abs().max()
    psnr = decibels(found / scale, expected / scale)
    run.goal("again", psnr if runner.redone_tiles else float("nan"))


@SECTION.step(
    Goal(key="fp32", text="odd, thin and deep sizes against the plain network: error", most=2e-5),
    seconds=40,
)
def odd_sizes(run: Run) -> None:
    network = random_rgt(MICRO, spread=0.05)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    runner = runner_of(network, run, "fp32")
    errors = {}
    for height, width in ODD_SIZES + run.pick(DEEP_SIZES, []):
        image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = reference_rgt(state, MICRO, image)
            errors[height, width] = relative_error(runner.infer(image.to(run.device)), expected)
    worst = max(errors, key=lambda size: errors[size])
    run.goal("fp32", errors[worst], f"{len(errors)} sizes; the worst is {worst[1]} x {worst[0]}")


@SECTION.step(
    Goal(key="fp32", text="a batch against its images, fp32: error", most=2e-5),
    Goal(key="half", text="the same in half precision: PSNR", least=55, unit="dB"),
    seconds=20,
)
def batches(run: Run) -> None:
    network = lively_rgt(run.pick(RGT_S, QUICK))
    side, count = run.pick((64, 8), (32, 3))
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    images = images.to(run.device)
    for precision in ("fp32", *halves(run)[:1]):
        runner = runner_of(network, run, precision)
        with torch.inference_mode():
            singles = torch.cat([runner.infer(image[None]) for image in images])
            together = runner.infer(images)
        note = f"{precision}, {count} images of {side} x {side}"
        if precision == "fp32":
            run.goal("fp32", relative_error(together, singles), note)
        else:
            run.goal("half", decibels(together, singles), note)


@SECTION.step(
    Goal(key="cpu", text="tiles on the device against tiles on the CPU, fp32: error", most=1e-4),
    Goal(key="whole", text="tiles against the whole image, fp32: PSNR", least=55, unit="dB"),
    Goal(key="half", text="tiles in half precision against fp32: PSNR", least=55, unit="dB"),
    seconds=30,
)
def tiles(run: Run) -> None:
    side, tile = run.pick((300, 96), (120, 64))
    image = photo(side, side).astype(np.float32) / 255

    def upscaled(device: str, precision: Precision, size: int | None) -> Tensor:
        upscaler = NetworkUpscaler("tiny", 2, device=device, precision=precision, tile=size or "none")
        return torch.from_numpy(upscaler.upscale(image))

    tiled = upscaled(run.device, "fp32", tile)
    run.goal("cpu", float((tiled - upscaled("cpu", "fp32", tile)).abs().max()))
    run.goal("whole", decibels(tiled, upscaled(run.device, "fp32", None)))
    for precision in halves(run)[:1]:
        run.goal("half", decibels(upscaled(run.device, precision, tile), tiled), precision)


def attention_cases(dtype: torch.dtype) -> Iterator[tuple[str, list[Tensor], Tensor | None]]:
    """Yield a name, queries, keys and values, and a bias of logits for each kind of attention."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    windows = {"8x32 windows": (40, 3, 256, 32), "8x16 windows": (40, 1, 128, 24)}
    windows |= {"8x24 windows": (40, 3, 192, 32), "4x16 windows": (40, 3, 64, 32)}
    for name, (count, heads, length, width) in windows.items():
        qkv = [normal(count, heads, length, width).to(dtype) for _ in range(3)]
        yield name, qkv, normal(heads, length, length)
    for rows, columns in ((4096, 16), (4096, 9), (1000, 144)):
        q = normal(1, 6, rows, 32).to(dtype)
        yield f"{columns} keys", [q, *(normal(1, 6, columns, 32).to(dtype) for _ in "kv")], None


def plain_attention(qkv: list[Tensor], bias: Tensor | None, scale: float) -> Tensor:
    """Return what `attend` should, by products in double precision."""
    q, k, v = (part.double() for part in qkv)
    logits = q @ k.transpose(-1, -2) * scale + (0 if bias is None else bias.double())
    return (logits.softmax(-1) @ v).transpose(1, 2)


@SECTION.step(
    Goal(key="default", text="attention as the network calls it: error, as a share of the tolerance",
         most=1),
    seconds=40,
)  # fmt: skip
def attention(run: Run) -> None:
    backends = [None, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    backends += [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]
    shares = []
    for precision in ("fp32", *halves(run)):
        cases = list(attention_cases(DTYPES[precision]))
        expected = [plain_attention(qkv, bias, 0.2) for _, qkv, bias in cases]
        for backend in backends:
            name = "default" if backend is None else backend.name
            errors, refused = {}, []
            for (case, qkv, bias), plain in zip(cases, expected, strict=True):
                try:
                    found = attend_by(backend, [part.to(run.device) for part in qkv], bias)
                except RuntimeError:
                    refused.append(case)
                    continue
                errors[case] = float((found.double().cpu() - plain).abs().max())
            note = f"refuses {', '.join(refused)}" if refused else ""
            if errors:
                worst = max(errors, key=lambda case: errors[case])
                is_wrong = not errors[worst] <= TOLERANCES[precision]
                note = f"{'WRONG: ' if is_wrong else ''}the worst is {worst}; {note}".rstrip("; ")
                run.value(f"{name}, {precision}", errors[worst], "largest error", note)
            else:
                run.value(f"{name}, {precision}", "refuses all", "", "")
            if backend is None:
                shares.append(max(errors.values(), default=float("nan")) / TOLERANCES[precision])
    run.goal("default", max(shares))


def attend_by(backend: SDPBackend | None, qkv: list[Tensor], bias: Tensor | None) -> Tensor:
    """Call the attention of the network with one backend; None leaves the choice to the network."""
    q, k, v = qkv
    mask = None if bias is None else bias.to(q.device)
    chosen = computing(q.device, q.dtype) if backend is None else sdpa_kernel(backend)
    with torch.inference_mode(), chosen:
        return attend(q, k, v, mask, 0.2)


@SECTION.step(
    Goal(key="fp32", text="the folded tail against the plain tail, fp32: error", most=2e-5),
    Goal(key="half", text="the same in half precision: PSNR", least=40, unit="dB"),
    seconds=20,
)
def folded_tail(run: Run) -> None:
    network = lively_rgt(QUICK).to(run.device)
    deep = torch.randn(1, 67, 71, QUICK.embed_dim, generator=torch.Generator().manual_seed(0))
    deep = deep.to(run.device)
    with torch.inference_mode():
        plain = network._tail(deep.permute(0, 3, 1, 2))
        run.goal("fp32", relative_error(network._upscale(deep), plain))
        for precision in halves(run)[:1]:
            with computing(deep.device, DTYPES[precision]):
                scale = plain.abs().max()
                run.goal("half", decibels(network._upscale(deep) / scale, plain / scale), precision)


@SECTION.step(
    Goal(
        key="fp32", text="more than 65535 windows at once against strips, fp32: error", most=2e-5,
        full_only=True,
    ),
    Goal(
        key="half", text="the same in half precision: PSNR", least=55, unit="dB", full_only=True
    ),
    seconds=40,
)  # fmt: skip
def many_windows(run: Run) -> None:
    side = run.pick(1500, 96)
    network = random_rgt(MICRO, spread=0.02)
    image = photo_tensor(side, side).to(run.device)
    kind, strips, whole = image.device.type, 64 << run.pick(14, 10), 1 << 50
    usual = STRIP_VALUES[kind]
    for precision in ("fp32", *halves(run)[:1]):
        runner = runner_of(network, run, precision)
        results = []
        for values in (strips, whole):
            STRIP_VALUES[kind] = values
            with torch.inference_mode():
                results.append(runner.infer(image).cpu())
        STRIP_VALUES[kind] = usual
        note = f"{precision}, {side * side // 32} windows of 4 x 8 pixels"
        if precision == "fp32":
            run.goal("fp32", relative_error(results[1], results[0]), note)
        else:
            run.goal("half", decibels(results[1], results[0]), note)
