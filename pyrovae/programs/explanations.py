"""What Pyro and PyTorch say of programs that fail on a few rows, with the repair."""

import re

_OF_TENSORS = re.compile(r"(?:tensor [ab] \(|[Ee]xpected size |got size )(\d+)")
# Where tensors are added, the dimension that differs is the first; where they are joined, it is not said.
_OF_ROWS = re.compile("at non-singleton dimension 0|Sizes of tensors must match except in dimension [1-9]")
_OF_VALUES = re.compile(
    r"log_prob at site '(.*)':\nExpected value argument .* to be within the support \((.*)\) of the distribution (\w+)",
    re.DOTALL,
)
NO_OBS_MASK = (
    "in place of obs_mask observe pyrovae.distributions.PartlyObserved(distribution) with obs=x, NaN marking what is "
    "missing, and encode x.nan_to_num(); or observe distribution.mask(obs_mask), before its to_event"
)
_KNOWN_OF_ROWS = "put what else is known of each row behind it, as further columns of x"


def explained_plate(message: str, num_rows: int, all_rows: int, first_rows: int) -> str:
    """What Pyro says of a plate or of a mask, with the repair; the programs ran on ``first_rows`` rows first."""
    if "Invalid obs_mask shape" in message:
        return f"{message}: {NO_OBS_MASK}"
    found = re.search(r"Shape mismatch inside plate\('(.*)'\) at site .* dim -1, (\d+) vs (\d+)", message)
    if found and int(found[2]) != num_rows:
        return (
            f"plate {found[1]!r} has size {found[2]} for {num_rows} rows: the data plate has to be "
            f"pyro.plate({found[1]!r}, len(x), dim=-1), or to have subsample=x"
        )
    if found and int(found[3]) in (all_rows, first_rows) and int(found[3]) != num_rows:
        return _made_for_others(num_rows, int(found[3]), all_rows, first_rows)
    if "Shape mismatch inside plate" in message:
        size = f"; or, if {found[3]} is a number of rows, {_KNOWN_OF_ROWS}" if found else ""
        return (
            f"{message}: dimensions of one row that are not plates belong to the event; add .to_event(n) to the "
            f"distribution, n being the number of data dimensions (3 for images){size}"
        )
    if "subsample_size does not match" in message:
        return (
            f"a plate has a subsample_size of its own, and the batch {num_rows} rows ({message}): write "
            "pyro.plate('rows', len(x)) over the rows that the programs are given, all of them; fit_svi makes "
            "the batches"
        )
    return message


def explained_value(message: str) -> str:
    """What Pyro says of a value without a density, in one line, with the repair where it is a latent's."""
    found = _OF_VALUES.search(message)
    if not found:
        return re.split(r"\n\s*Trace Shapes:", message)[0]
    name, support, family = (" ".join(part.split()) for part in found.groups())
    return (
        f"site {name!r} has a value outside the support {support} of its {family}: draws of a latent in one program "
        "have to be values of it in the other, so give both the same support, to positive numbers a LogNormal; "
        "observed rows have to be values of the likelihood"
    )


def explained_sizes(reason: str, num_rows: int, all_rows: int, first_rows: int) -> str:
    """What PyTorch says of sizes that differ, with the repair where one is that of other rows; else empty."""
    sizes = {int(size) for size in _OF_TENSORS.findall(reason)}
    others = sizes - {num_rows}
    if len(sizes) == 2 and len(others) == 1 and (others == {all_rows} or _OF_ROWS.search(reason)):
        return _made_for_others(num_rows, others.pop(), all_rows, first_rows)
    return ""


def _made_for_others(num_rows: int, other_rows: int, all_rows: int, first_rows: int) -> str:
    if other_rows == first_rows != all_rows:
        return (
            f"a batch has {num_rows} rows, and something in the programs {other_rows}, as many as the batch before it: "
            "a pyro.param or an attribute that was made for the first batch knows no other rows; let the guide compute "
            "its numbers from x by an encoder, q(z|x), and the model its own from z"
        )
    these = "" if other_rows != all_rows else ", as many as there are rows in all"
    return (
        f"a batch has {num_rows} rows, and something in the programs {other_rows}{these}: programs run on batches, so "
        f"take sizes of tensors and plates from len(x), in both programs, and {_KNOWN_OF_ROWS}"
    )
