#!/usr/bin/env python3
"""Our recommender beside the methods a shop could use instead, on the same files, judged alike.

  recommend_peers.py SET/open SET/novel OTHER/llo --json out.json                    the peers alone, one table a folder
  recommend_peers.py SET/open --ours target/release/gotham                           ours in the same run, with ratios
  recommend_peers.py SET/open --ours "CMD --fit {train} --ask {queries} --to {lists}" another command that writes its lists
  recommend_peers.py SET/hide --peers popularity,confidence --judge rec_eval.py      peers by name; scored by another judge

Needs numpy and scipy. Nothing is downloaded. One thread: set OMP_NUM_THREADS=1.

A folder holds queries.jsonl {"id","items": known, oldest first,"exclude"?,"baskets"?: sizes of the known baskets} and targets.jsonl
{"id","items"}, and its kind follows from the training files:
- sessions: ../train.txt, one session a line in the order of time, ids by blanks. Validation: the last 3 % of the sessions, every prefix.
- users: train.csv and valid.csv (user,item,ts,event,weight,session) with one sequence a user; where a user has several values of
  `session` these are baskets, and the next basket is asked for. Validation: valid.csv after train.csv.
- baskets: train.txt and valid.txt, one basket a line, items by commas. Validation: each item of a basket hidden in turn.

What is measured
- Each peer takes the point of its grid that is best in nDCG at the deciding cut on the validation part (its published defaults first,
  then a seeded draw, within --tune-seconds-max), is fitted again on everything known, and answers all queries of the folder. What a
  peer leaves open is filled with the most popular items.
- Full ranking, binary relevance, mean over all queries: hr, recall, mrr of the first hit, nDCG with min(k, targets) as the ideal.
  Excluded items never count. Where --judge names a judge of the same files, its figures are taken and a difference is reported.
- Times of the peers are CPU times, so that other work on the machine does not count against them.
- The files hold the order of sessions and not their times: STAN's age of a session is its place in the file, as a share of the file.

Our command is called as `CMD [eval recommend] --train F [--valid F] --queries F --targets F --json`; it prints one JSON object
that holds metrics named as here (`hr@20`), those least deep count; with {lists} in it, the lists that it writes there are judged instead.

Peers: popularity; item-kNN: cosine with shrinkage; Jaccard; confidence of association rules; sequential rules and V-SKNN (Ludewig and
Jannach 2018); STAN (Garg et al. 2019); VMIS-kNN (Kersbergen et al. 2022); EASE (Steck 2019); own frequency, then popularity; TIFU-KNN
(Hu et al. 2020).
"""
import argparse
import csv
import itertools
import json
import math
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict

import numpy as np
import scipy.linalg.lapack as lapack
import scipy.sparse as sparse

CUTS = (10, 20)
N = max(CUTS)
BATCH = 256
VALIDATION_SHARE = 0.03
BASKET_ITEMS_MAX = 40
SHOWN = ("hr@10", "mrr@10", "ndcg@10", "hr@20", "recall@20", "mrr@20", "ndcg@20")


# ---------------------------------------------------------------- files
def json_lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


class Ids:
    """Numbers for the ids of a folder, in the order of their first use."""

    def __init__(self):
        self.number, self.names = {}, []

    def __call__(self, names):
        for name in names:
            if name not in self.number:
                self.number[name] = len(self.names)
                self.names.append(name)
        return np.array([self.number[name] for name in names], np.int64)


class Query:
    __slots__ = ("id", "items", "exclude", "targets", "baskets")

    def __init__(self, id, items, exclude, targets, baskets=None):
        self.id, self.items, self.exclude, self.targets, self.baskets = id, items, exclude, targets, baskets


class Log:
    """Sequences of items, each of them a session, a user or a basket, the oldest first."""

    def __init__(self, sequences, items):
        self.sequences = [s for s in sequences if len(s)]
        self.lengths = np.array([len(s) for s in self.sequences], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.flat = np.concatenate(self.sequences) if self.sequences else np.zeros(0, np.int64)
        self.owner = np.repeat(np.arange(len(self.sequences)), self.lengths)
        self.count, self.rows = items, len(self.sequences)
        self.clicks = np.bincount(self.flat, minlength=items)
        matrix = sparse.csr_matrix((np.ones(len(self.flat), np.float32), (self.owner, self.flat)), (self.rows, items))
        matrix.data[:] = 1
        self.matrix, self.support = matrix, np.bincount(matrix.indices, minlength=items)
        self.popular = np.lexsort((np.arange(items), -self.clicks))[: int((self.clicks > 0).sum())].tolist()

    def together(self):
        """In how many sequences two items occur together, [items, items], without the diagonal."""
        if not hasattr(self, "pairs"):
            pairs = (self.matrix.T @ self.matrix).tocsr()
            pairs.setdiag(0)
            pairs.eliminate_zeros()
            self.pairs = pairs
        return self.pairs


class Folder:
    """One set of queries with what may be known: `fit` and `validation` to choose, `all` and `queries` to judge."""

    def __init__(self, path, tune_queries_max):
        self.path, ids = path, Ids()
        self.name = "/".join(os.path.abspath(path).split(os.sep)[-2:])
        known, hidden = json_lines(f"{path}/queries.jsonl"), {d["id"]: d["items"] for d in json_lines(f"{path}/targets.jsonl")}
        self.excludes = any("exclude" in d for d in known)
        if os.path.exists(f"{path}/train.csv"):
            self.kind, self.train, self.valid = "users", f"{path}/train.csv", f"{path}/valid.csv"
        elif os.path.exists(f"{path}/train.txt"):
            self.kind, self.train, self.valid = "baskets", f"{path}/train.txt", f"{path}/valid.txt"
        else:
            self.kind, self.train, self.valid = "sessions", os.path.join(os.path.dirname(os.path.abspath(path)), "train.txt"), None
        first, validation, everything = getattr(self, f"read_{self.kind}")(ids)
        self.queries = [self.query(ids, d, hidden[d["id"]]) for d in known]
        if self.queries[0].baskets is not None:
            self.kind = "next"
        step = max(1.0, len(validation) / tune_queries_max)
        self.validation = [validation[int(k * step)] for k in range(int(len(validation) / step))]
        self.names, self.fit, self.all = ids.names, Log(first, len(ids.names)), Log(everything, len(ids.names))
        self.cut = 20 if self.kind == "sessions" else 10

    def query(self, ids, d, targets):
        exclude = ids(d.get("exclude", []))
        return Query(d["id"], ids(d["items"]), exclude, set(ids(targets).tolist()), d.get("baskets"))

    def read_sessions(self, ids):
        with open(self.train) as file:
            sessions = [ids(line.split()) for line in file]
        cut, asked = len(sessions) - int(VALIDATION_SHARE * len(sessions)), []
        for session in sessions[cut:]:
            for k in range(1, len(session)):
                if not (self.excludes and session[k] in session[:k]):
                    asked.append(Query("", session[:k], np.unique(session[:k] if self.excludes else session[:0]), {int(session[k])}))
        return sessions[:cut], asked, sessions

    def read_users(self, ids):
        before, after, sizes = defaultdict(list), defaultdict(list), defaultdict(lambda: defaultdict(int))
        for path, rows in ((self.train, before), (self.valid, after)):
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    rows[row["user"]].append(row["item"])
                    if rows is before and row["session"]:
                        sizes[row["user"]][row["session"]] += 1
        first, everything, asked = [], [], []
        for user, items in before.items():
            known, new = ids(items), ids(after.get(user, []))
            first.append(known)
            everything.append(np.concatenate([known, new]))
            targets = set(new.tolist()) - (set(known.tolist()) if self.excludes else set())
            if targets:
                exclude = np.unique(known) if self.excludes else known[:0]
                asked.append(Query("", known, exclude, targets, list(sizes[user].values()) or None))
        return first, asked, everything

    def read_baskets(self, ids):
        parts = []
        for path in (self.train, self.valid):
            with open(path) as file:
                parts.append([ids([x.strip() for x in line.split(",") if x.strip()]) for line in file if line.strip()])
        asked = []
        for basket in parts[1]:
            for item in basket if 2 <= len(basket) <= BASKET_ITEMS_MAX else []:
                rest = basket[basket != item]
                asked.append(Query("", rest, rest, {int(item)}))
        return parts[0], asked, parts[0] + parts[1]


# ---------------------------------------------------------------- lists and metrics
def top(items, values, exclude, banned):
    """The N best of `items`, without the excluded ones; `banned` is a scratch of flags, left clear."""
    banned[exclude] = True
    keep = (values > 0) & ~banned[items]
    banned[exclude] = False
    items, values = items[keep], values[keep]
    if len(items) > N:
        best = np.argpartition(-values, N - 1)[:N]
        items, values = items[best], values[best]
    return items[np.lexsort((items, -values))]


def filled(found, query, popular):
    """The list with popular items behind it, N in all."""
    found = found.tolist()
    if len(found) < N:
        taken = set(found) | set(query.exclude.tolist())
        found += list(itertools.islice((i for i in popular if i not in taken), N - len(found)))
    return found


def metrics(queries, lists):
    sums = defaultdict(float)
    for query, found in zip(queries, lists):
        hits = [rank for rank, item in enumerate(found) if item in query.targets]
        for k in CUTS:
            inside = [rank for rank in hits if rank < k]
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(query.targets))))
            sums[f"hr@{k}"] += bool(inside)
            sums[f"recall@{k}"] += len(inside) / len(query.targets)
            sums[f"mrr@{k}"] += 1 / (inside[0] + 1) if inside else 0
            sums[f"ndcg@{k}"] += sum(1 / math.log2(rank + 2) for rank in inside) / ideal
    return {name: value / len(queries) for name, value in sums.items()}


# ---------------------------------------------------------------- peers
class Peer:
    """`defaults` are the first point of `grid`; `fit` sees the log once, `set` takes a point, `found` yields one array of items a query."""

    kinds = ("sessions", "users", "baskets", "next")
    defaults, grid = {}, {}

    def __init__(self, kind, args):
        self.kind, self.args = kind, args

    def points(self, most):
        """The defaults, then a seeded draw of the grid."""
        rest = [dict(zip(self.grid, values)) for values in itertools.product(*self.grid.values())]
        rest = [point for point in rest if point != self.defaults]
        return [self.defaults] + random.Random(1).sample(rest, min(most - 1, len(rest)))

    def fit(self, log):
        self.log, self.banned = log, np.zeros(log.count, bool)

    def begins(self, point):
        """Whether the point costs more than asking, so that tuning may end before it."""
        return True

    def set(self, point):
        self.point = point

    def rank(self, queries):
        return [filled(found, query, self.log.popular) for found, query in zip(self.found(queries), queries)]


class Popularity(Peer):
    def found(self, queries):
        return (np.zeros(0, np.int64) for _ in queries)


class Matrix(Peer):
    """Scores = profile x matrix; the profile weighs the newest item 1 and each earlier one `decay` times the one after it."""

    def profiles(self, queries):
        rows, columns, weights, decay = [], [], [], self.point.get("decay", 1.0)
        for row, query in enumerate(queries):
            for age, item in enumerate(dict.fromkeys(query.items[::-1].tolist())):
                if decay**age < 1e-3:
                    break
                rows.append(row)
                columns.append(item)
                weights.append(decay**age)
        return sparse.csr_matrix((np.array(weights, np.float32), (rows, columns)), (len(queries), self.log.count))

    def found(self, queries):
        for start in range(0, len(queries), BATCH):
            batch = queries[start : start + BATCH]
            scores = self.profiles(batch) @ self.scores
            for row, query in enumerate(batch):
                if sparse.issparse(scores):
                    span = slice(scores.indptr[row], scores.indptr[row + 1])
                    yield top(scores.indices[span], scores.data[span], query.exclude, self.banned)
                else:
                    yield top(self.every, scores[row], query.exclude, self.banned)


def weighted(pairs, weigh):
    """The pairs with `weigh(value, row, column)` in the place of their values."""
    rows = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    return sparse.csr_matrix((weigh(pairs.data, rows, pairs.indices).astype(np.float32), pairs.indices, pairs.indptr), pairs.shape)


def strongest(matrix, most):
    """The `most` largest values of each row."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, rows))
    keep = order[np.arange(len(order)) - matrix.indptr[rows[order]] < most]
    return sparse.csr_matrix((matrix.data[keep], (rows[keep], matrix.indices[keep])), matrix.shape)


class ItemKnn(Matrix):
    kinds = ("sessions", "users", "baskets")
    similarity = staticmethod(lambda both, one, other: np.sqrt(one * other))

    def __init__(self, kind, args):
        super().__init__(kind, args)
        decays = [1.0] if kind == "baskets" else [0.0, 0.5, 0.8, 0.9, 1.0]
        self.grid = {"shrink": [0, 5, 20, 100, 500], "neighbours": [50, 100, 300], "decay": decays}
        self.defaults = {"shrink": 20, "neighbours": 100, "decay": 0.0 if kind == "sessions" else 1.0}

    def set(self, point):
        self.point, n = point, self.log.support.astype(np.float64)
        weigh = lambda both, i, j: both / (self.similarity(both, n[i], n[j]) + point["shrink"])  # noqa: E731
        self.scores = strongest(weighted(self.log.together(), weigh), point["neighbours"])


class Jaccard(ItemKnn):
    kinds = ("baskets",)
    similarity = staticmethod(lambda both, one, other: one + other - both)


class Confidence(Matrix):
    """Rules of one item: count(i, j) / count(i), summed over the known items."""

    kinds = ("sessions", "users", "baskets")

    def __init__(self, kind, args):
        super().__init__(kind, args)
        self.grid = {"support": [1, 2, 3, 5], "decay": [1.0] if kind == "baskets" else [0.0, 0.5, 0.8, 1.0]}
        self.defaults = {"support": 1, "decay": 0.0 if kind == "sessions" else 1.0}

    def set(self, point):
        self.point, n = point, self.log.support
        self.scores = weighted(self.log.together(), lambda both, i, j: both * (both >= point["support"]) / n[i])


class SequentialRules(Matrix):
    """How often j comes after i, weighted by the distance between them."""

    kinds = ("sessions", "users")
    defaults = {"steps": 10, "weights": "div", "decay": 0.0}
    grid = {"steps": [1, 3, 10, 20], "weights": ["div", "linear", "same"], "decay": [0.0, 0.3, 0.6, 0.8]}

    def set(self, point):
        self.point, log, total = point, self.log, None
        for step in range(1, point["steps"] + 1):
            weight = {"div": 1 / step, "linear": max(0.0, 1 - 0.1 * (step - 1)), "same": 1.0}[point["weights"]]
            same = log.owner[step:] == log.owner[:-step]
            before, after = log.flat[:-step][same], log.flat[step:][same]
            pairs = sparse.csr_matrix((np.full(len(before), weight, np.float32), (before, after)), (log.count, log.count))
            total = pairs if total is None else total + pairs
        sums = np.maximum(np.asarray(total.sum(1)).ravel(), 1e-9)
        self.scores = weighted(total.tocsr(), lambda value, i, j: value / sums[i])


class Ease(Matrix):
    kinds = ("sessions", "users", "baskets")

    def __init__(self, kind, args):
        super().__init__(kind, args)
        self.decays, self.inverted = [1.0] if kind == "baskets" else [1.0, 0.9, 0.8, 0.5, 0.0], None

    def points(self, most):
        """All decays of one ridge after another, as a change of the ridge costs an inversion; fewer ridges where that is dear."""
        ridges = [300, 100] if self.log.count > 10_000 else [300, 100, 1000, 30, 3000, 10]
        return [{"ridge": r, "decay": d} for r in ridges for d in self.decays]

    def begins(self, point):
        return point["ridge"] != self.inverted

    def fit(self, log):
        super().fit(log)
        if log.count > self.args.ease_items_max:
            raise MemoryError(f"{log.count} items, more than --ease-items-max")
        self.inverted, self.every = None, np.arange(log.count)

    def set(self, point):
        self.point = point
        if self.inverted == point["ridge"]:
            return
        self.scores = None
        gram = np.asarray((self.log.matrix.T @ self.log.matrix).toarray(order="F"), np.float64)
        gram[np.diag_indices_from(gram)] += point["ridge"]
        factor, bad = lapack.dpotrf(gram, lower=1, overwrite_a=1)
        inverse, worse = lapack.dpotri(factor, lower=1, overwrite_c=1)
        if bad or worse:
            raise ArithmeticError("the Gram matrix has no Cholesky factor")
        # LAPACK leaves the other triangle as it was.
        lower = np.tril(inverse).astype(np.float32)
        weights = lower + np.tril(lower, -1).T
        weights /= -np.diag(weights).copy()[None, :]
        np.fill_diagonal(weights, 0)
        self.scores, self.inverted = weights, point["ridge"]


class SessionKnn(Peer):
    """Neighbour sessions of the running one; what differs between the three methods stands in their `weigh...` functions.

    Of each item the `sample` latest sessions suffice: the latest `sample` of their union are the latest that share any item."""

    kinds = ("sessions", "users")
    places = False

    def fit(self, log):
        super().fit(log)
        by_item = log.matrix.tocsc()
        by_item.sort_indices()
        self.sessions_of = np.split(by_item.indices, by_item.indptr[1:-1])
        self.similarity, self.step_of = np.zeros(log.rows), np.zeros(log.count, np.int64)
        self.match = np.zeros(log.rows, np.int64)
        self.idf = np.log((log.rows + 1) / (log.support + 1))

    def found(self, queries):
        return (self.one(query) for query in queries)

    def neighbours(self, items):
        """Sessions, their similarity and the step (1 = newest) of the newest item they share; `items` distinct, the newest first."""
        point, lists = self.point, []
        weights = self.weigh_steps(len(items))
        for step in range(len(items), 0, -1):
            rows = self.sessions_of[items[step - 1]][-point["sample"] :]
            lists.append(rows[self.similarity[rows] == 0])
            self.similarity[rows] += weights[step - 1]
            self.match[rows] = step
        rows = np.concatenate(lists)
        similarity, match = self.similarity[rows].copy(), self.match[rows].copy()
        self.similarity[rows] = 0
        if len(rows) > point["sample"]:
            latest = np.argpartition(-rows, point["sample"] - 1)[: point["sample"]]
            rows, similarity, match = rows[latest], similarity[latest], match[latest]
        similarity = self.weigh_sessions(similarity, rows)
        if len(rows) > point["k"]:
            # Of equals the later session is nearer.
            best = np.argpartition(-(similarity + 1e-9 * rows / self.log.rows), point["k"] - 1)[: point["k"]]
            rows, similarity, match = rows[best], similarity[best], match[best]
        return rows, similarity, match

    def one(self, query):
        items = np.array(list(dict.fromkeys(query.items[::-1].tolist()))[: self.point["window"]], np.int64)
        rows, similarity, match = self.neighbours(items) if len(items) else (items, items, items)
        if not len(rows):
            return np.zeros(0, np.int64)
        log, lengths = self.log, self.log.lengths[rows]
        begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        place = np.arange(lengths.sum()) - np.repeat(begins, lengths)
        listed = log.flat[place + np.repeat(log.starts[rows], lengths)]
        values = np.repeat(similarity * self.weigh_match(match), lengths)
        if self.places:
            self.step_of[items] = np.arange(1, len(items) + 1)
            shared = self.step_of[listed] == np.repeat(match, lengths)
            self.step_of[items] = 0
            at = np.maximum.reduceat(np.where(shared, place, -1), begins)
            values = values * np.exp(-np.abs(place - np.repeat(at, lengths)) / self.point["near"])
        sums = np.bincount(listed, values, log.count)
        distinct = np.flatnonzero(sums)
        return top(distinct, sums[distinct] * self.weigh_items(distinct), query.exclude, self.banned)

    def weigh_sessions(self, similarity, rows):
        return similarity

    def weigh_match(self, match):
        return np.ones(len(match))

    def weigh_items(self, items):
        return np.ones(len(items))


def step_weights(kind, steps, of):
    """Of the steps (1 = newest) of a session of `of` items."""
    steps = np.asarray(steps, np.float64)
    return {"div": (of - steps + 1) / of, "linear": np.maximum(1 - 0.1 * (steps - 1), 1e-6), "quadratic": ((of - steps + 1) / of) ** 2,
            "inverse": 1 / steps, "same": np.ones(len(steps))}[kind]


class Vsknn(SessionKnn):
    defaults = {"k": 100, "sample": 1000, "window": 50, "weights": "div", "match": "inverse", "idf": 0}
    grid = {"k": [100, 500, 1500], "sample": [1000, 2500, 5000], "window": [10, 50], "weights": ["div", "linear", "quadratic", "same"],
            "match": ["inverse", "linear", "quadratic", "same"], "idf": [0, 1, 5]}
    kinds = ("sessions", "users", "baskets")

    def __init__(self, kind, args):
        super().__init__(kind, args)
        if kind == "baskets":
            # A basket has no order.
            self.defaults = {**self.defaults, "weights": "same", "match": "same"}
            self.grid = {**self.grid, "window": [50], "weights": ["same"], "match": ["same"]}

    def weigh_steps(self, length):
        return step_weights(self.point["weights"], np.arange(1, length + 1), length)

    def weigh_match(self, match):
        return step_weights(self.point["match"], match, self.point["window"])

    def weigh_items(self, items):
        return 1 + self.point["idf"] * self.idf[items]


class Stan(SessionKnn):
    """`step`: decay over the running session, `age`: over the age of a session (a share of the file), `near`: over the distance in it."""

    places = True
    defaults = {"k": 500, "sample": 2500, "window": 50, "step": 1.02, "age": 1.0, "near": 2.05}
    grid = {"k": [100, 500, 1500], "sample": [1000, 2500, 5000], "window": [50], "step": [0.5, 1.02, 2.0, 4.0], "age": [0.1, 0.3, 1.0, 1e9],
            "near": [1.0, 2.05, 5.0, 1e9]}

    def weigh_steps(self, length):
        return np.exp(-np.arange(length) / self.point["step"])

    def weigh_sessions(self, similarity, rows):
        return similarity / np.sqrt(self.log.lengths[rows]) * np.exp(-(self.log.rows - rows) / self.log.rows / self.point["age"])


class Vmis(SessionKnn):
    defaults = {"k": 100, "sample": 500, "window": 10, "idf": 1}
    grid = {"k": [50, 100, 500, 1500], "sample": [500, 1000, 2500, 5000], "window": [2, 3, 5, 10], "idf": [0, 1]}

    def weigh_steps(self, length):
        return step_weights("div", np.arange(1, length + 1), length)

    def weigh_match(self, match):
        return step_weights("linear", match, self.point["window"])

    def weigh_items(self, items):
        return self.idf[items] if self.point["idf"] else np.ones(len(items))


class OwnFrequency(Peer):
    """How often the shopper bought it, of equals the more popular first."""

    kinds = ("next",)

    def found(self, queries):
        share = self.log.clicks / (self.log.clicks.max() + 1)
        for query in queries:
            items, counts = np.unique(query.items, return_counts=True)
            yield top(items, counts + share[items], query.exclude, self.banned)


class Tifu(Peer):
    """Baskets averaged with decay within groups and over groups, mixed with the mean of the `k` nearest shoppers who asked."""

    kinds = ("next",)
    defaults = {"within": 0.9, "over": 0.7, "groups": 7, "k": 300, "own": 0.7}
    grid = {"within": [0.8, 0.9, 1.0], "over": [0.5, 0.7, 0.9], "groups": [3, 7], "k": [100, 300, 900], "own": [0.3, 0.5, 0.7, 0.9]}

    def vector(self, query):
        baskets, point = np.split(query.items, np.cumsum(query.baskets)[:-1]), self.point
        size, values = math.ceil(len(baskets) / point["groups"]), defaultdict(float)
        # The oldest group may be the shorter one, so that the newest is whole.
        groups = [baskets[max(0, end - size) : end] for end in range(len(baskets), 0, -size)]
        for age, group in enumerate(groups):
            for place, basket in enumerate(reversed(group)):
                weight = point["over"] ** age * point["within"] ** place / len(groups) / len(group)
                for item in basket.tolist():
                    values[item] += weight
        return values

    def found(self, queries):
        rows = [self.vector(query) for query in queries]
        data = np.array([v for row in rows for v in row.values()], np.float32)
        columns = [i for row in rows for i in row]
        pointers = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        vectors = sparse.csr_matrix((data, columns, pointers), (len(rows), self.log.count))
        norms, every = np.asarray(vectors.multiply(vectors).sum(1)).ravel(), np.arange(self.log.count)
        k, own, turned = min(self.point["k"], len(rows) - 1), self.point["own"], vectors.T.tocsr()
        for start in range(0, len(rows), BATCH):
            part = vectors[start : start + BATCH]
            distance = norms[None, :] - 2 * (part @ turned).toarray()
            distance[np.arange(part.shape[0]), np.arange(start, start + part.shape[0])] = np.inf
            near = np.argpartition(distance, k - 1, axis=1)[:, :k]
            mean = np.full(near.size, 1 / k, np.float32)
            choose = sparse.csr_matrix((mean, near.ravel(), np.arange(0, near.size + 1, k)), distance.shape)
            scores = (part * own + choose @ vectors * (1 - own)).toarray()
            for row, values in enumerate(scores):
                yield top(every, values, queries[start + row].exclude, self.banned)


PEERS = {"popularity": Popularity, "item-knn": ItemKnn, "jaccard": Jaccard, "confidence": Confidence, "sequential-rules": SequentialRules,
         "v-sknn": Vsknn, "stan": Stan, "vmis-knn": Vmis, "ease": Ease, "own-frequency": OwnFrequency, "tifu-knn": Tifu}


# ---------------------------------------------------------------- the comparison
def say(text):
    print(text, file=sys.stderr, flush=True)


def tuned(peer, folder, args):
    """The best point on the validation part and how many were tried."""
    began, best, tried = time.process_time(), None, 0
    peer.fit(folder.fit)
    points = peer.points(args.grid_max)
    for point in points if len(points) > 1 else []:
        if tried and time.process_time() - began > args.tune_seconds_max and peer.begins(point):
            break
        peer.set(point)
        value = metrics(folder.validation, peer.rank(folder.validation))[f"ndcg@{folder.cut}"]
        best, tried = max(best or (-1, point), (value, point), key=lambda pair: pair[0]), tried + 1
    return (best[1] if best else points[0]), tried


def write_lists(path, folder, lists):
    with open(path, "w") as file:
        for query, found in zip(folder.queries, lists):
            file.write(json.dumps({"id": query.id, "items": [folder.names[i] for i in found]}) + "\n")


def judged(judge, folder, path):
    command = [sys.executable, judge, "score", f"{folder.path}/targets.jsonl", path, "--queries", f"{folder.path}/queries.jsonl",
               "--cuts", ",".join(map(str, CUTS)), "--boot", "0", "--compact"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def run_peer(name, folder, args, scratch):
    peer = PEERS[name](folder.kind, args)
    began = time.process_time()
    point, tried = tuned(peer, folder, args)
    tuning, began = time.process_time() - began, time.process_time()
    peer.fit(folder.all)
    peer.set(point)
    fitting, began = time.process_time() - began, time.process_time()
    lists = peer.rank(folder.queries)
    asking = time.process_time() - began
    values = metrics(folder.queries, lists)
    if args.judge or args.lists:
        kept = os.path.join(args.lists, folder.name.replace("/", ".")) if args.lists else scratch
        os.makedirs(kept, exist_ok=True)
        path = os.path.join(kept, f"{name}.lists.jsonl")
        write_lists(path, folder, lists)
        if args.judge:
            other = judged(args.judge, folder, path)
            for metric in values:
                if abs(values[metric] - other[metric]) > 2e-6:
                    say(f"{folder.name} {name} {metric}: {values[metric]:.6f} here, {other[metric]:.6f} by the judge")
            values = {metric: other[metric] for metric in values}
    return dict(name=name, point=point, tried=tried, tune_seconds=round(tuning, 1), fit_seconds=round(fitting, 2),
                us_per_query=round(asking / len(lists) * 1e6), metrics={m: round(v, 5) for m, v in values.items()})


def named_metrics(answer):
    """The numbers named like a metric in a JSON value; of several with one name the first of those least deep."""
    found, level, names = {}, [answer], {f"{m}@{k}" for m in ("hr", "recall", "mrr", "ndcg") for k in CUTS}
    while level:
        pairs = [pair for value in level for pair in (value.items() if isinstance(value, dict) else enumerate(value))]
        for name, inner in pairs:
            if name in names and isinstance(inner, (int, float)):
                found.setdefault(name, float(inner))
        level = [inner for _, inner in pairs if isinstance(inner, (dict, list))]
    return found


def run_ours(folder, args, scratch):
    command = shlex.split(args.ours)
    if os.path.basename(command[0]) == "gotham" and len(command) == 1:
        command += ["eval", "recommend", "--train", "{train}", *(["--valid", "{valid}"] if folder.valid else []), "--queries", "{queries}",
                    "--targets", "{targets}", "--json"]
    lists = os.path.join(scratch, "ours.lists.jsonl")
    places = {"train": folder.train, "valid": folder.valid or "", "queries": f"{folder.path}/queries.jsonl",
              "targets": f"{folder.path}/targets.jsonl", "lists": lists, "folder": folder.path, "kind": folder.kind}
    began = time.monotonic()
    ran = subprocess.run([word.format(**places) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    if "{lists}" not in args.ours:
        values = named_metrics(json.loads(ran.stdout[ran.stdout.index("{") :]))
    elif args.judge:
        values = {m: v for m, v in judged(args.judge, folder, lists).items() if m in SHOWN}
    else:
        number, given = {name: k for k, name in enumerate(folder.names)}, {str(d["id"]): d["items"] for d in json_lines(lists)}
        clean = []
        for query in folder.queries:
            banned = set(query.exclude.tolist())
            items = (number.get(i, -1) for i in dict.fromkeys(map(str, given.get(query.id, []))))
            clean.append(list(itertools.islice((i for i in items if i not in banned), N)))
        values = metrics(folder.queries, clean)
    return dict(name="ours", seconds=round(time.monotonic() - began, 1), metrics={m: round(v, 5) for m, v in values.items()})


def print_folder(result):
    print(f"\n{result['folder']}: {result['kind']}, {result['sequences']} sequences, {result['items']} items, {result['queries']} queries")
    print(f"{'':18s}" + "".join(f"{metric:>11s}" for metric in SHOWN) + "   us/query   point")
    for row in result["rows"]:
        values = "".join(f"{row['metrics'][m]:11.4f}" if m in row["metrics"] else f"{'-':>11s}" for m in SHOWN)
        point = " ".join(f"{k}={v:g}" if isinstance(v, (int, float)) else f"{k}={v}" for k, v in row.get("point", {}).items())
        print(f"{row['name']:18s}{values}{row.get('us_per_query', '-'):>11}   {point}")
    for metric, ratio in result.get("ratios", {}).items():
        print(f"ours / best peer in {metric}: {ratio['ratio']:.3f} ({ratio['best_peer']}); ours / popularity: {ratio['popularity']:.2f}")
    sys.stdout.flush()


def ratios(ours, peers):
    """Ours over the best peer of each metric, and over popularity."""
    result = {}
    for metric in SHOWN:
        best = max(peers, key=lambda row: row["metrics"][metric])
        if metric in ours["metrics"] and best["metrics"][metric] > 0:
            plain = next((row["metrics"][metric] for row in peers if row["name"] == "popularity"), 0.0)
            popularity = ours["metrics"][metric] / plain if plain else math.nan
            result[metric] = dict(ratio=ours["metrics"][metric] / best["metrics"][metric], best_peer=best["name"], popularity=popularity)
    return result


def compare(path, args):
    folder = Folder(path, args.tune_queries_max)
    names = [n for n in args.peers.split(",") if n] if args.peers else list(PEERS)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            if folder.kind not in PEERS[name].kinds:
                continue
            try:
                rows.append(run_peer(name, folder, args, scratch))
                say(f"{folder.name} {name}: {rows[-1]}")
            except (MemoryError, ArithmeticError) as error:
                say(f"{folder.name}: {name} left out: {error}")
        result = dict(folder=folder.name, kind=folder.kind, sequences=folder.all.rows, items=len(folder.all.popular),
                      queries=len(folder.queries), validation_queries=len(folder.validation), rows=rows)
        if args.ours:
            ours = run_ours(folder, args, scratch)
            result["ratios"] = ratios(ours, rows) if rows else {}
            rows.append(ours)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--peers", help=f"comma-separated [default: all that suit the folder, of {','.join(PEERS)}]")
    parser.add_argument("--ours", help="our command; without it only the peers run")
    parser.add_argument("--judge", help="a judge with the command `score TARGETS LISTS --queries F --cuts A,B --boot 0 --compact`")
    parser.add_argument("--lists", metavar="DIR", help="keep the lists of the peers here")
    parser.add_argument("--json", help="write everything measured to this file, after each folder")
    parser.add_argument("--grid-max", type=int, default=24, help="points of a peer's grid that are tried")
    parser.add_argument("--tune-queries-max", type=int, default=2000, help="validation queries, evenly spaced")
    parser.add_argument("--tune-seconds-max", type=float, default=120.0, help="CPU seconds for each peer")
    parser.add_argument("--ease-items-max", type=int, default=20_000, help="EASE needs 20 bytes times the square of the items")
    args = parser.parse_args()
    results = []
    for path in args.folders:
        results.append(compare(path.rstrip("/"), args))
        print_folder(results[-1])
        if args.json:
            with open(args.json, "w") as file:
                json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
