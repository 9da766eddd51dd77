"""What lab 01 says of its numbers."""

import pytest
import torch
import torchvision
from claiming import Claims

from labsupport import anatomy, blueprints, tasks
from labsupport.core.errors import BadImage
from labsupport.labs import lab01


def measured(name):
    return anatomy.anatomy(blueprints.blueprint(name))


def given(names):
    """SqueezeNet with random weights, whose layers with weights hold all parameters."""
    module = torchvision.models.squeezenet1_1(weights=None).eval()
    return {"module": module, "image": torch.zeros(1, 3, 224, 224)}


claims = Claims(given=given)


@claims.claim("In VGG-16 most parameters sit in fc6, most of the work is in the convolutions")
def _vgg():
    whole = measured("vgg16")
    fc6 = next(row for row in whole.layers if row.name == "fc6")
    convolutions = [row for row in whole.blocks if row.kind == "conv"]
    assert fc6.parameters > whole.parameters / 2
    assert sum(row.multiply_adds for row in convolutions) > whole.multiply_adds / 2
    assert sorted(whole.blocks, key=lambda row: -row.memory)[:2] == list(whole.blocks[:2])


@claims.claim("A larger image makes more work and more memory, but not one parameter more.")
def _larger():
    small, large = (anatomy.anatomy(blueprints.blueprint("vgg16"), (s, s)) for s in (224, 336))
    assert small.parameters == large.parameters
    assert small.multiply_adds < large.multiply_adds
    assert small.memory < large.memory


@claims.claim("AlexNet of 2012, ZFNet and both LeNets refuse any other size")
def _refused():
    refusing = []
    for name in blueprints.names():
        one = blueprints.blueprint(name)
        try:
            anatomy.anatomy(one, tuple(side * 3 // 2 for side in one.input_size))
        except BadImage:
            refusing.append(name)
    assert set(refusing) == {"alexnet_2012", "zfnet", "lenet5", "lenet5_1998"}, refusing


@claims.claim("so such maps count twice")
def _memory():
    rows = {row.name: row for row in measured("vgg16").blocks}
    assert rows["avgpool"].shape == rows["pool5"].shape
    assert rows["avgpool"].memory == 2 * rows["pool5"].memory
    assert rows["conv1_1"].memory == 2 * 4 * 64 * 224 * 224


@claims.claim(
    "AlexNet's fully connected layers hold 96 % of the parameters and do 8 % of the work."
)
def _shares(shares, sides, by_tool):
    held, done = shares["alexnet_2012"]
    assert (round(100 * held), round(100 * done)) == (96, 8), (held, done)
    assert all(held > 0.9 and done < 0.2 for held, done in shares.values()), shares
    assert sides == [28, 14, 10, 5]


@claims.claim("ZFNet's conv1 has 110 × 110 positions where AlexNet's has 55 × 55")
def _zfnet(shares):
    first = [measured(name).layers[0].shape[1:] for name in ("zfnet", "alexnet_2012")]
    assert first == [(110, 110), (55, 55)], first
    assert shares["zfnet"][1] < shares["alexnet_2012"][1]


@claims.claim("Count parameters and multiply-adds of your own")
def _plain(plain):
    whole = measured("squeezenet1_1")
    counted = [sum(row[place] for row in plain["rows"]) for place in (1, 2)]
    assert counted == [whole.parameters, whole.multiply_adds], counted


@claims.claim("it needs 25 weights where two of 3 × 3 need 18")
def _kernels():
    stack = torch.nn.Sequential(*[torch.nn.Conv2d(1, 1, 3, bias=False) for _ in range(2)])
    assert stack(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 1, 1)
    assert sum(one.numel() for one in stack.parameters()) == 18


@claims.claim(
    "VGG-16 does 15.5 billion multiply-adds for one image, ResNet-50 only 4.1 billion, and "
    "ResNet-50 is right more often.",
    "With parameters as the cost, SqueezeNet is as right as AlexNet with a fiftieth.",
    "ResNet-50 climbs from 76 to 81 %",
)
def _accuracies():
    work = [round(measured(name).multiply_adds / 1e9, 1) for name in ("vgg16", "resnet50")]
    assert work == [15.5, 4.1], work
    known = {}
    for one in anatomy.published():
        known.setdefault(one.network, []).append(one)
    first = {name: entries[0] for name, entries in known.items()}
    assert first["resnet50"].top1 > first["vgg16"].top1
    small, large = first["squeezenet1_1"], first["alexnet"]
    assert small.top1 >= large.top1
    assert large.parameters / small.parameters == pytest.approx(50, rel=0.05)
    climb = [one.top1 for one in known["resnet50"]]
    assert [round(climb[0]), round(max(climb))] == [76, 81], climb


@claims.claim(
    "the head average turns 128 million parameters into 5 million, and the work hardly changes",
    "A stride of 1 in conv1 makes four times the work.",
)
def _design(build):
    plain = anatomy.anatomy(anatomy.design(anatomy.Design()))
    average = anatomy.anatomy(anatomy.design(anatomy.Design(head="average")))
    slow = anatomy.anatomy(anatomy.design(anatomy.Design(first_stride=1)))
    assert [round(one.parameters / 1e6) for one in (plain, average)] == [128, 5]
    assert "128 M parameters" in build.words
    assert average.multiply_adds == pytest.approx(plain.multiply_adds, rel=0.1)
    assert slow.multiply_adds / plain.multiply_adds == pytest.approx(4, rel=0.1)


@claims.claim("Shuffled pixels harm LeNet-5 and leave the fully connected network as it was.")
def _shift(moved, mixed):
    assert moved
    assert not mixed


@claims.claim(
    "After four epochs LeNet-5 reads about 3 % of the test digits wrongly, and about 11 % with "
    "shuffled pixels.",
    "The fully connected network has as many parameters and reads about 8 % wrongly either way.",
)
def _reading(trained):
    wrong = [100 * (1 - one.accuracy) for one in trained.values()]
    assert wrong == pytest.approx([3, 11, 8, 8], abs=2.5), wrong
    assert wrong[1] > 2 * wrong[0], wrong
    assert wrong[0] < min(wrong[2:]), wrong
    assert abs(wrong[2] - wrong[3]) < 2, wrong


def place_of(maps, network, name):
    """Where a class map is highest, in the scene's own pixels (across, down)."""
    one = maps[network.class_index(name)]
    row, column = divmod(int(one.argmax()), one.shape[1])
    return 720 * (column + 0.5) / one.shape[1], 480 * (row + 0.5) / one.shape[0]


@claims.claim("Balloon is highest around the basket", "Still the sliding network names all three")
def _scene(network, scene, found):
    across, down = place_of(found, network, "balloon")
    assert 115 < across < 180, across
    assert 180 < down < 245, down
    things = {one.name: one for one in tasks.detections(network, scene, threshold=0.9)}
    assert set(things) == {"balloon", "tiger", "zebra"}
    assert all(one.probability > 0.99 for one in things.values())
    assert things["balloon"].box[1] > 120, "the upper half of the balloon is in the box"


@claims.claim(
    "Zebra is high at the zebra's head and legs, and just as high at the tiger's stripes."
)
def _zebra(network, found):
    values = found[network.class_index("zebra")]
    columns = values.shape[1]
    tiger, zebra = (values[16:, : columns // 2], values[16:, columns // 2 :])
    assert tiger.max() / zebra.max() == pytest.approx(1, abs=0.15), (tiger.max(), zebra.max())


@claims.claim("cuts out 23 % of the picture")
def _cut(network, bear, index):
    assert "23 %" in lab01.segmented(network, bear, index)[1]


@claims.claim("tabby on the tiger, submarine at the balloon's basket")
def _absent(network, found, highest):
    across, down = place_of(found, network, "tabby")
    assert 90 < across < 290, across
    assert 270 < down < 430, down
    across, down = place_of(found, network, "submarine")
    assert 115 < across < 180, across
    assert 180 < down < 245, down
    assert highest["tiger"] > max(value for name, value in highest.items() if name != "tiger")


@claims.claim("The tolerance for parameters is 2 %; layers have to be equal.")
def _papers(told, ours, deep, counted):
    assert all(abs(ours[name] / paper - 1) <= 0.02 for name, paper in told.items()), ours
    assert deep == counted


@claims.claim("conv3 reads all 256.", "192 of 384.")
def _columns():
    rows = {row.name: row for row in measured("alexnet_2012").layers}
    read = [rows[name].parameters / rows[name].shape[0] // 9 for name in ("conv3", "conv4")]
    assert read == [256, 192], read
    assert rows["conv3"].shape[0] == 384


@claims.claim("That is 72 % for the same field.", "Two kernels of 3 × 3 see as far as one of 5 × 5")
def _saved():
    assert round(100 * 2 * 9 / 25) == 72


@claims.claim("early layers keep the memory")
def _early():
    for name in ("alexnet_2012", "vgg16", "resnet50"):
        rows = measured(name).layers
        half = sum(row.memory for row in rows[: len(rows) // 2])
        assert half > sum(row.memory for row in rows) / 2, name
