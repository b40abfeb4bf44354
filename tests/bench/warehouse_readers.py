#!/usr/bin/env python3
"""Reads the warehouse's Parquet files with DuckDB and with pyarrow, and compares counts and sums with what the log says of itself.

    python3 -m venv venv && venv/bin/pip install duckdb pyarrow
    gotham export events --summary --json --data DIR | venv/bin/python tests/bench/warehouse_readers.py DIR/warehouse

Exit code 1 when anything differs.
"""

import glob
import json
import sys
import time
from decimal import Decimal

import duckdb
import pyarrow
import pyarrow.compute as pc
import pyarrow.dataset as ds


def expected(summary):
    """Per kind: events, items, quantity, revenue by currency; then served lists and their items."""
    kinds = {}
    for kind, of in summary["events"].items():
        revenue = {currency: Decimal(amount) for currency, amount in of["revenue"].items()}
        kinds[kind] = (of["events"], of["items"], of["quantity"], revenue)
    return kinds, (summary["served"], summary["served_items"])


def by_duckdb(folder):
    connection = duckdb.connect()
    kinds = {}
    events = f"read_parquet('{folder}/day=*/events-*.parquet', hive_partitioning = true)"
    rows = connection.sql(f"SELECT kind, count(*), sum(len(items)) FROM {events} GROUP BY kind").fetchall()
    for kind, count, items in rows:
        kinds[kind] = [count, int(items), 0, {}]
    rows = connection.sql(
        f"""
        SELECT kind, item.currency, sum(item.quantity), sum(item.price * item.quantity)
        FROM (SELECT kind, unnest(items) AS item FROM {events}) GROUP BY ALL
        """
    ).fetchall()
    for kind, currency, quantity, revenue in rows:
        kinds[kind][2] += int(quantity)
        if currency is not None:
            kinds[kind][3][currency] = Decimal(revenue)
    served = (0, 0)
    if glob.glob(f"{folder}/day=*/served-*.parquet"):
        lists, items = connection.sql(f"SELECT count(*), sum(len(items)) FROM '{folder}/day=*/served-*.parquet'").fetchall()[0]
        served = (lists, int(items))
    return {kind: tuple(of) for kind, of in kinds.items()}, served


def by_pyarrow(folder):
    kinds = {}
    events = ds.dataset(sorted(glob.glob(f"{folder}/day=*/events-*.parquet")), format="parquet")
    for batch in events.to_batches(columns=["kind", "items"]):
        for kind in pc.unique(batch["kind"]).to_pylist():
            rows = batch.filter(pc.equal(batch["kind"], kind))
            items = rows["items"].flatten()
            of = kinds.setdefault(kind, [0, 0, 0, {}])
            of[0] += rows.num_rows
            of[1] += len(items)
            of[2] += pc.sum(items.field("quantity")).as_py() or 0
            priced = items.filter(pc.is_valid(items.field("price")))
            wide = priced.field("price").cast(pyarrow.decimal128(38, 4))
            quantities = priced.field("quantity").to_pylist()
            for price, quantity, currency in zip(wide.to_pylist(), quantities, priced.field("currency").to_pylist()):
                of[3][currency] = of[3].get(currency, Decimal(0)) + price * quantity
    served = (0, 0)
    files = sorted(glob.glob(f"{folder}/day=*/served-*.parquet"))
    if files:
        table = ds.dataset(files, format="parquet").to_table(columns=["items"])
        served = (table.num_rows, len(pc.list_flatten(table["items"])))
    return {kind: tuple(of) for kind, of in kinds.items()}, served


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    wanted = expected(json.load(sys.stdin))
    differs = False
    for name, read in (("duckdb", by_duckdb), ("pyarrow", by_pyarrow)):
        started = time.monotonic()
        found = read(folder)
        took = time.monotonic() - started
        same = found == wanted
        differs |= not same
        events = sum(of[0] for of in found[0].values())
        print(f"{name}: {events} events of {len(found[0])} kinds, {found[1][0]} served lists in {took:.2f} s: {'same' if same else 'DIFFERS'}")
        if not same:
            print(f"  wanted {wanted}\n  found  {found}")
        elif name == "duckdb":
            for kind, (count, items, quantity, revenue) in sorted(found[0].items()):
                sums = ", ".join(f"{amount} {currency}" for currency, amount in sorted(revenue.items()))
                print(f"  {kind:16} {count:>9} events {items:>9} items {quantity:>9} pieces  {sums}")
    sys.exit(1 if differs else 0)


if __name__ == "__main__":
    main()
