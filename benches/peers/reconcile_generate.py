"""Writes a ledger and Stripe's balance transactions with a few injected breaks: the same bytes for the same rows and seed.

    python3 benches/peers/reconcile_generate.py --rows 1000000 --out FOLDER
"""

import argparse
import pathlib
import random

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Of a thousand rows, so many get each of these.
AMOUNT, FEE, MISSING_IN_LEDGER, MISSING_IN_STRIPE, DUPLICATE = 2, 1, 1, 1, 1


def identifier(draw, prefix):
    """27 characters, as Stripe's are."""
    bits = draw.getrandbits(24 * 6)
    letters = []
    for _ in range(27 - len(prefix)):
        letters.append(ALPHABET[(bits & 63) % 62])
        bits >>= 6
    return prefix + "".join(letters)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=20260101)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    arguments = arguments.parse_args()
    draw = random.Random(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    ledger, stripe = [], []
    for _ in range(arguments.rows):
        charge, transaction = identifier(draw, "ch_"), identifier(draw, "txn_")
        amount = draw.randrange(100, 1_000_000)
        fee = amount * 29 // 1000 + 30
        created = 1_767_225_600 + draw.randrange(31 * 86_400)
        kind = draw.randrange(1000)
        booked_amount, booked_fee = amount, fee
        if kind < AMOUNT:
            booked_amount += draw.choice((-500, 700))
        elif kind < AMOUNT + FEE:
            booked_fee += 10
        gone = kind - AMOUNT - FEE
        if not 0 <= gone < MISSING_IN_LEDGER:
            ledger.append(f"{charge},{booked_amount},{booked_fee},usd,succeeded,{created}\n")
        gone -= MISSING_IN_LEDGER
        if not 0 <= gone < MISSING_IN_STRIPE:
            row = f"{transaction},charge,{charge},{amount},{fee},{amount - fee},usd,{created + 2},{created + 172_800}\n"
            stripe.append(row)
            if 0 <= gone - MISSING_IN_STRIPE < DUPLICATE:
                stripe.append(row)
    draw.shuffle(ledger)
    draw.shuffle(stripe)
    (arguments.out / "ledger.csv").write_text("source,amount,fee,currency,status,created\n" + "".join(ledger))
    (arguments.out / "stripe.csv").write_text("id,type,source,amount,fee,net,currency,created,available_on\n" + "".join(stripe))
    sizes = [(arguments.out / f"{name}.csv").stat().st_size for name in ("ledger", "stripe")]
    print(f"{len(ledger)} ledger rows, {len(stripe)} balance transactions, {sum(sizes) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
