"""Loss and gradients of small LSTM networks by PyTorch, which ours are compared with.

Usage: python tests/vectors/lstm.py > tests/vectors/lstm.json

Writes one network of rows (with a bottleneck) and one of symbols: their weights in the order of `Shape`, the inputs of three
sequences, where each ends, outputs, losses and the derivative by every weight, over two stretches of which only the second counts
the state of the first as a constant. Everything in 64 bits, with PyTorch's own LSTM cell and automatic differentiation.
"""

import json

import torch

torch.manual_seed(11)
torch.set_default_dtype(torch.float64)
SEQUENCES, STEPS, QUADRATIC = 3, 5, 3.0


def flat(tensor):
    return [float(f"{value:.9g}") for value in tensor.detach().reshape(-1).tolist()]


def network(inputs, hidden, code):
    """Three matrices, each with its bias as the first row; numbers that 32 bits hold exactly."""
    shapes = [(1 + inputs + hidden, 4 * hidden), (1 + inputs + hidden, code), (1 + code + hidden, inputs)]
    return [(torch.randn(shape) * 0.5).float().double().requires_grad_() for shape in shapes]


def cell_of(gates, inputs, hidden):
    """PyTorch's cell, whose gates come in another order: input, forget, candidate, output."""
    order = [0, 1, 3, 2]
    matrix = torch.cat([gates[:, g * hidden : (g + 1) * hidden] for g in order], 1)
    weights = {
        "weight_ih": matrix[1 : 1 + inputs].T,
        "weight_hh": matrix[1 + inputs :].T,
        "bias_ih": matrix[0],
        "bias_hh": torch.zeros_like(matrix[0]),
    }
    cell = torch.nn.LSTMCell(inputs, hidden)
    return lambda x, state: torch.func.functional_call(cell, weights, (x, state))


def run(layers, x, targets, present, state, inputs, hidden, code):
    gates, squeeze, decode = layers
    cell, losses, outputs = cell_of(gates, inputs, hidden), 0.0, []
    for step in range(x.shape[0]):
        before = state[0]
        z = torch.tanh(squeeze[0] + torch.cat([x[step], before], 1) @ squeeze[1:])
        output = decode[0] + torch.cat([z, before], 1) @ decode[1:]
        outputs.append(output)
        if targets is None:
            cost = torch.nn.functional.huber_loss(output, x[step], reduction="none", delta=QUADRATIC).mean(1)
        else:
            cost = torch.nn.functional.cross_entropy(output, targets[step], reduction="none")
        losses = losses + (cost * present[step]).sum()
        state = cell(x[step], state)
    return losses, state, torch.stack(outputs)


def case(inputs, hidden, code, symbols):
    layers = network(inputs, hidden, code)
    present = torch.ones(2 * STEPS, SEQUENCES)
    present[STEPS + 2 :, 2] = 0
    if symbols:
        targets = torch.randint(0, inputs, (2 * STEPS, SEQUENCES))
        x = torch.nn.functional.one_hot(targets, inputs).double()
        elements = targets.reshape(-1).tolist()
    else:
        targets, x = None, (torch.randn(2 * STEPS, SEQUENCES, inputs) * 2).float().double()
        elements = flat(x)
    state = (torch.zeros(SEQUENCES, hidden), torch.zeros(SEQUENCES, hidden))
    losses, gradients, outputs = [], [], []
    for half in (slice(0, STEPS), slice(STEPS, 2 * STEPS)):
        loss, state, output = run(
            layers, x[half], None if targets is None else targets[half], present[half], state, inputs, hidden, code
        )
        found = torch.autograd.grad(loss, layers, allow_unused=True)
        gradients.append(sum([flat(g if g is not None else torch.zeros_like(w)) for g, w in zip(found, layers)], []))
        losses.append(loss.item())
        outputs += flat(output)
        state = tuple(part.detach() for part in state)
    return {
        "shape": {"inputs": inputs, "hidden": hidden, "code": code},
        "parameters": sum([flat(layer) for layer in layers], []),
        "sequences": SEQUENCES,
        "symbols": elements if symbols else [],
        "rows": [] if symbols else elements,
        "present": flat(present),
        "losses": losses,
        "outputs": outputs,
        "gradients": gradients,
    }


print(json.dumps({"rows": case(5, 6, 3, False), "symbols": case(9, 7, 0, True)}))
