"""DARTS's blocks and networks in torch and as files: what they compute and hold, and what commands do with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.cli import show
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.export.exporter import exporter_for
from searcher.export.recipe import set_weights
from searcher.networks.activations import example_of, settle_batch_norms
from searcher.networks.blocks import build_block
from searcher.networks.darts import DartsNetwork
from searcher.networks.network import build_network
from searcher.spaces.block import CALL_OVERHEAD, FP32, BlockSpec
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.darts import DartsSpace
from searcher.spaces.darts_cell import OPERATIONS
from searcher.tables.completeness import needed_blocks
from searcher.workflows.prepare_exporter import calibration_for
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.fakes import FakeTransport
from tests.searcher.builders import QUICK, agent_program, table
from tests.searcher.command_line import Run
from tests.searcher.tflite_files import operators, run_tflite

SPACE, TINY = DartsSpace(), DartsSpace(cells=6, channels=4, classes=3, image_size=8)
TINY_OPTIONS = ("--space", "darts", "--channels", "4", "--image-size", "8", "--classes", "3")
EXAMPLE = example_of(TINY)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parameters_of(module: nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.parameters())


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def macs_of(module: nn.Module, inputs: list[Tensor]) -> int:
    total = 0

    def hook(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() * output.shape[-1] * output.shape[-2]
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()

    for layer in module.modules():
        layer.register_forward_hook(hook)
    with torch.no_grad():
        module.eval()(*inputs)
    return total


def test_blocks_hold_and_do_what_is_counted() -> None:
    for spec in TINY.all_blocks():
        module = build_block(spec)
        assert parameters_of(module) == block_parameters(spec), spec.key
        assert macs_of(module, [torch.zeros(shape) for shape in spec.input_shapes]) == block_macs(spec), spec.key


def test_networks_hold_and_do_what_their_space_counts() -> None:
    generator = np.random.default_rng(0)
    for architecture in [TINY.sample(generator) for _ in range(3)]:
        network = build_network(TINY, architecture)
        assert parameters_of(network) == TINY.parameters(architecture)
        assert macs_of(network, [torch.zeros(TINY.image_shape)]) == TINY.macs(architecture)
    whole = SPACE.sample(generator)
    assert parameters_of(build_network(SPACE, whole)) == SPACE.parameters(whole)


def test_a_factorised_reduction_sees_every_other_pixel_twice() -> None:
    spec = BlockSpec("factorised_reduction", ((1, 3, 6, 6),), 4, stride=2)
    module = set_weights(build_block(spec))
    even, odd = (layer.weight[:, :, 0, 0] for layer in module.modules() if isinstance(layer, nn.Conv2d))
    (norm,) = (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))
    inputs = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    active = functional.relu(inputs)
    with torch.no_grad():
        halves = [
            torch.einsum("nchw,oc->nohw", pixels, weight)
            for pixels, weight in ((active[:, :, ::2, ::2], even), (active[:, :, 1::2, 1::2], odd))
        ]
        assert torch.allclose(module(inputs), norm(torch.cat(halves, 1)), atol=1e-6)
    for wrong in (
        BlockSpec("factorised_reduction", ((1, 3, 6, 6),), 3, stride=2),
        BlockSpec("sum", ((1, 3, 6, 6),), 3),
    ):
        with pytest.raises(BadInputError):
            build_block(wrong)


def test_separable_convolutions_are_darts_own() -> None:
    spec = TINY.cell_places[2].operation("sep_conv_5x5", 0)
    assert spec is not None
    assert [type(layer).__name__ for layer in build_block(spec).children()] == [
        *("ReLU", "Conv2d", "Conv2d", "BatchNorm2d"),
        *("ReLU", "Conv2d", "Conv2d", "BatchNorm2d"),
    ]
    convolutions = [layer for layer in build_block(spec).modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.stride for layer in convolutions] == [(2, 2), (1, 1), (1, 1), (1, 1)]
    assert [layer.groups for layer in convolutions] == [8, 1, 8, 1]
    spec = TINY.cell_places[2].operation("dil_conv_3x3", 0)
    assert spec is not None
    dilated = [layer for layer in build_block(spec).modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.dilation, layer.padding) for layer in dilated] == [((2, 2), (2, 2)), ((1, 1), (0, 0))]


def test_a_cell_is_what_its_genotype_says() -> None:
    network = DartsNetwork(TINY, TINY.parse(EXAMPLE))
    set_weights(network)
    cell = list(network.cells)[1]
    before, last = (torch.randn(2, width, 8, 8, generator=torch.Generator().manual_seed(width)) for width in (12, 16))
    edges = [(name, source) for name, source, _ in TINY.cell(TINY.parse(EXAMPLE), reduction=False)]
    with torch.no_grad():
        values = [cell.get_submodule("first")(before), cell.get_submodule("second")(last)]
        for node in range(4):
            one, other = (
                cell.get_submodule(f"operations.{2 * node + term}")(values[edges[2 * node + term][1]])
                for term in (0, 1)
            )
            values.append(one + other)
        assert torch.equal(cell(before, last), torch.cat(values[2:], dim=1))


def test_features_are_the_ends_of_each_resolution() -> None:
    network = build_network(TINY, TINY.parse(EXAMPLE)).eval()
    assert isinstance(network, DartsNetwork)
    with torch.no_grad():
        features, logits = network.forward_with_features(images())
        outputs = network.outputs(images())
        assert torch.equal(logits, network(images()))
    assert [tuple(one.shape) for one in features] == [(2, 16, 8, 8), (2, 32, 4, 4), (2, 64, 2, 2)]
    assert all(torch.equal(one, outputs[place]) for one, place in zip(features, (1, 3, 5), strict=True))
    torch.autograd.backward(build_network(TINY, TINY.parse(EXAMPLE))(images()).square().sum())


def test_activations_have_every_shape_that_blocks_take() -> None:
    network = build_network(TINY, TINY.parse(EXAMPLE))
    settle_batch_norms(network, [images(8)])
    with torch.no_grad():
        seen = {tuple(one.shape[1:]): one for one in network.activations(images())}
    wanted = {shape[1:] for spec in TINY.all_blocks()[1:] for shape in spec.input_shapes}
    assert wanted <= set(seen)
    assert all(seen[shape].std() > 0.1 for shape in wanted)
    genes = TINY.parse(EXAMPLE).genotype
    assert {*range(1, len(OPERATIONS))} == {*genes[:14]} - {0} == {*genes[14:]} - {0}


def test_a_network_computes_in_onnx_what_it_does_in_torch_and_executes_its_blocks(tmp_path: Path) -> None:
    architecture = TINY.parse(EXAMPLE)
    with torch.no_grad():
        expected = set_weights(build_network(TINY, architecture))(images(1)).numpy()
    exported = exporter_for("onnx").export_network(TINY, architecture, tmp_path)
    assert exported.name == EXAMPLE
    (result,) = onnxruntime.InferenceSession(exported.path).run(None, {"input_0": images(1).numpy()})
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)
    executed: Counter[str] = Counter()
    for spec, count in TINY.blocks(architecture).items():
        executed[spec.operation] += count
    nodes = Counter(node.op_type for node in onnx.load(exported.path).graph.node)
    assert (nodes["MaxPool"], nodes["AveragePool"]) == (executed["max_pool"], executed["avg_pool"])
    assert nodes["Add"] == executed["add"]
    assert nodes["Concat"] == executed["concat"] + executed["factorised_reduction"]
    convolutions = {"sep_conv": 4, "dil_conv": 2, "factorised_reduction": 2, "relu_conv_bn": 1, "conv_bn": 1}
    assert nodes["Conv"] == sum(executed[operation] * count for operation, count in convolutions.items())


def test_blocks_compute_in_onnx_what_they_do_in_torch(tmp_path: Path) -> None:
    random, seen = np.random.default_rng(0), set()
    for spec in TINY.all_blocks():
        if spec.operation in seen and spec.stride == 1:
            continue
        seen.add(spec.operation)
        inputs = [random.standard_normal(shape).astype(np.float32) for shape in spec.input_shapes]
        with torch.no_grad():
            expected = set_weights(build_block(spec))(*map(torch.from_numpy, inputs)).numpy()
        session = onnxruntime.InferenceSession(exporter_for("onnx").export_block(spec, tmp_path).path)
        (result,) = session.run(None, {f"input_{index}": one for index, one in enumerate(inputs)})
        np.testing.assert_allclose(result, expected, atol=1e-4, err_msg=spec.key)
    assert {"max_pool", "sep_conv", "dil_conv", "factorised_reduction", "concat", "pool_head"} <= seen


@pytest.mark.parametrize(
    "name", ["avg_pool_3x3", "concat", pytest.param("factorised_reduction", marks=pytest.mark.slow)]
)
def test_tflite_blocks_compute_the_same_in_operators_that_runtimes_know(name: str, tmp_path: Path) -> None:
    reducing = TINY.cell_places[2]
    operations = {"concat": reducing.concat, "factorised_reduction": reducing.operation("skip_connect", 0)}
    spec = operations.get(name) or reducing.operation(name, 0)
    assert spec is not None
    inputs = [np.random.default_rng(seed).standard_normal(spec.input_shapes[0]).astype(np.float32) for seed in range(4)]
    inputs = inputs[: len(spec.input_shapes)]
    with torch.no_grad():
        expected = set_weights(build_block(spec))(*map(torch.from_numpy, inputs)).numpy()
    model = exporter_for("litert").export_block(spec, tmp_path).path
    result = run_tflite(model, [one.transpose(0, 2, 3, 1) for one in inputs])
    np.testing.assert_allclose(result.transpose(0, 3, 1, 2), expected, atol=1e-4)
    assert not {"TRANSPOSE", "STABLEHLO_REDUCE_WINDOW"} & {*operators(model)}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [FP32, "fp16", "int8"])
@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_every_block_and_a_network_in_every_format_and_number_type(runtime: str, dtype: str, tmp_path: Path) -> None:
    space = DartsSpace(cells=6, channels=4)
    exporter = exporter_for(runtime, dtype)
    if dtype != FP32:
        exporter = exporter.calibrated_on(calibration_for(space, "digits"))
    models = [exporter.export_block(spec, tmp_path) for spec in space.all_blocks()]
    network = exporter.export_network(space, space.parse(EXAMPLE), tmp_path)
    most = {FP32: None, "fp16": 0.002, "int8": 0.1}[dtype]
    if most is not None:
        errors = {model.name: model.numerical_error for model in models}
        assert all(error is not None and error < most for error in errors.values()), errors
        assert network.numerical_error is not None
        assert network.numerical_error < 0.7
    if runtime == "litert":
        assert "TRANSPOSE" not in operators(network.path)


def test_a_table_prices_architectures_and_each_choice() -> None:
    made = table(TINY, lambda spec: 0.5 if spec == CALL_OVERHEAD else 0.5 + spec.kernel)
    assert made.space == "darts"
    model = BlockSum(TINY, made)
    architecture = TINY.parse(EXAMPLE)
    expected = 0.5 + sum(count * spec.kernel for spec, count in TINY.blocks(architecture).items())
    assert model.latency_ms(architecture) == pytest.approx(expected)
    # No pool of this architecture is there twice, so that its latency is a sum over edges.
    additive = EdgeAdditive.of(TINY, model.block_ms)
    assert additive.latency_ms(architecture) == pytest.approx(expected)
    other = DartsSpace(cells=8, channels=4, classes=3, image_size=8)
    assert BlockSum(other, made).latency_ms(architecture) > expected
    with pytest.raises(BadInputError, match=r"the table lacks .* of the space darts"):
        BlockSum(SPACE, made)


@pytest.mark.parametrize("space", [SPACE, TINY, DartsSpace(channels=16), DartsSpace(classes=100, image_size=64)])
def test_networks_of_all_sizes_have_their_own_blocks(space: DartsSpace) -> None:
    keys = frozenset(spec.key for spec in space.all_blocks())
    assert needed_blocks("darts", FP32, keys) == keys
    assert needed_blocks("darts", FP32, keys - {space.all_blocks()[-1].key}) == keys


def test_commands_take_the_space(searcher: Run, tmp_path: Path) -> None:
    status, out, _ = searcher("blocks", EXAMPLE, *TINY_OPTIONS, "--cells", "6", "--json")
    assert status == 0
    document, architecture = json.loads(out), TINY.parse(EXAMPLE)
    assert document["blocks"] == {spec.key: count for spec, count in TINY.blocks(architecture).items()}
    assert (document["parameters"], document["macs"]) == (TINY.parameters(architecture), TINY.macs(architecture))
    assert searcher("export", EXAMPLE, *TINY_OPTIONS, "--cells", "6", "--out", "net.onnx")[0] == 0
    assert onnx.load(tmp_path / "net.onnx").graph.input[0].name == "input_0"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("blocks", "--space", "darts", "--cells", "5"), "at least 6 cells, not 5"),
        (("blocks", "--space", "fbnet", "--channels", "5"), "networks of fbnet have one width"),
        (("blocks", "Genotype()", "--space", "darts"), "'Genotype()' is not a DARTS genotype"),
        (("search", "--space", "darts", "--lut", "t.json"), "GA+RMI scores networks of nasbench201 alone"),
    ],
)
def test_what_cannot_be_is_one_sentence(searcher: Run, arguments: tuple[str, ...], sentence: str) -> None:
    status, out, err = searcher(*arguments)
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_device_is_asked_for_the_blocks_of_the_space(tmp_path: Path) -> None:
    request = ProfileRequest(TINY, Device(), QUICK, tmp_path / "t.json")
    program = agent_program(lambda name: 0.5 if name == CALL_OVERHEAD.key else 2.0)
    measured = show.run(profile_space(request, lambda _device: FakeTransport(program)))
    assert measured.space == "darts"
    assert set(measured.entries) == {spec.key for spec in TINY.all_blocks()}
