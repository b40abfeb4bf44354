#!/usr/bin/env python3
"""Our vector index beside the libraries a shop could pick instead, on the same files, in alternation.

  search_peers.py --base X.base.fbin --queries X.query.fbin --truth X.gt.ibin --ours target/release/gotham --json out.json
  search_peers.py ... --ours "target/release/examples/curve {stem} --only graph"     another command; {stem} is the base without .base.fbin
  search_peers.py ... --peers hnswlib,svs-lvq4x8 --rounds 5                          other peers, more rounds
  search_peers.py ... --filter 0.01                                                 1 % of the rows pass (peers that can filter)
  search_peers.py --list                                                             the peers and whether they are installed

Needs numpy and the peers named: pip install numpy hnswlib usearch faiss-cpu; optional: scalable-vs, scann, rabitqlib (built from
its sources). Nothing is downloaded. Runs on Linux.

Files, little endian: *.fbin = u32 rows, u32 dimensions, f32[rows * dimensions]; truth *.ibin = u32 queries, u32 k, u32 ids[queries * k],
f32 sims[queries * k], sims descending: inner product, or minus the squared distance with --metric l2. For `cosine` the rows of both
files must have length 1.

What is measured
- Each peer lives in a process of its own with the base file mapped; it builds once on --build-threads threads. Its memory is the
  growth of its anonymous memory while it builds (its own copy of the rows included, as it cannot search without).
- In each round the participants run one after another, in an order that turns from round to round: every peer sweeps its search
  parameter on one thread, our command runs once. Whoever is not at turn sleeps.
- recall@10 is tie-aware: a returned row counts when its true similarity is at least the 10th true one (less float noise, 1e-6 of it).
- queries/s: peers answer in calls of 25 queries where their interface takes several (so that Python's call costs do not count), and
  the median call counts. A peer's call is timed by the CPU time of its process, so that other work on the machine does not count
  against it; ours is timed by the clock. p50/p99 are by the clock, from calls with one query, the fastest of the repetitions of each.
- At a target recall: the best point that reaches it, or the log-linear interpolation between two neighbouring points of the curve,
  whichever is more, taken in each round by itself. The ratio compares ours with the best peer of the same round; the median round
  counts, the range is printed.
- With --filter a random set of rows passes (row i where u(i) < selectivity, u a splitmix64 hash of i); the truth is brute force over
  them.

Our command is called as `CMD [bench search] --base F --queries F --truth F [--filter S] --json` and prints one JSON object: `build_seconds`,
`rows`, `hot_bytes_per_row`, `cold_bytes_per_row` and `points`, each with `strategy`, `effort`, `rerank`, `recall`, `queries_per_second`, `p50_us`, `p99_us`.
"""
import argparse
import gc
import importlib.util
import json
import math
import os
import shlex
import subprocess
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import numpy as np  # noqa: E402

K = 10
CHUNK = 25
SINGLES_MAX = 500
EFS = [10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024]
PROBES = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512]
TARGETS = [0.95, 0.99]
FAMILIES = ("hnswlib", "usearch", "faiss-hnsw")


# ---------------------------------------------------------------- files and measures
def map_rows(path):
    """[rows, dimensions] f32, mapped."""
    rows, dimensions = (int(x) for x in np.fromfile(path, np.uint32, 2))
    return np.memmap(path, np.float32, "r", 8, (rows, dimensions))


def read_truth(path):
    """ids [queries, k] and sims [queries, k]."""
    queries, k = (int(x) for x in np.fromfile(path, np.uint32, 2))
    ids = np.fromfile(path, np.uint32, queries * k, offset=8).reshape(queries, k)
    sims = np.fromfile(path, np.float32, queries * k, offset=8 + 4 * queries * k).reshape(queries, k)
    return ids, sims


def similarities(rows, query, metric):
    if metric == "l2":
        difference = rows - query
        return -np.einsum("ij,ij->i", difference, difference)
    return rows @ query


def recall(base, queries, found, thresholds, metric, allowed=None):
    """Tie-aware recall@10 of `found` [queries, >=10]; ids outside the base count as missing."""
    hits = 0
    for query, ids, threshold in zip(queries, found, thresholds):
        ids = np.unique(ids[:K].astype(np.int64))
        ids = ids[(ids >= 0) & (ids < len(base))]
        if allowed is not None:
            ids = ids[allowed[ids]]
        noise = 1e-6 * max(1.0, abs(float(threshold)))
        hits += min(K, int((similarities(np.asarray(base[ids]), query, metric) >= threshold - noise).sum()))
    return hits / (K * len(queries))


def at_recall(points, target):
    """Queries/s where the curve reaches `target`, by the best strategy; 0 where none does."""
    best = max((p["qps"] for p in points if p["recall"] >= target), default=0.0)
    for strategy in {p.get("strategy") for p in points}:
        curve = sorted((p["recall"], p["qps"]) for p in points if p.get("strategy") == strategy)
        for (low, fast), (high, slow) in zip(curve, curve[1:]):
            if low < target <= high:
                share = (target - low) / (high - low)
                best = max(best, math.exp(math.log(fast) + share * (math.log(slow) - math.log(fast))))
    return best


def passes(rows, selectivity):
    """Which rows pass the filter: a splitmix64 hash of the row number below the selectivity."""
    with np.errstate(over="ignore"):
        x = (np.arange(rows, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53 < selectivity


def thresholds_of(base, queries, metric, allowed):
    """The 10th best similarity of each query among the allowed rows, by brute force."""
    rows = np.asarray(base[np.nonzero(allowed)[0]])
    sims = queries @ rows.T
    if metric == "l2":
        sims = 2 * sims - (rows * rows).sum(1)[None, :] - (queries * queries).sum(1)[:, None]
    return -np.sort(-sims, axis=1)[:, min(K, len(rows)) - 1]


def anonymous_mib():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


# ---------------------------------------------------------------- peers
class Hnswlib:
    module = "hnswlib"
    params = EFS

    def __init__(self, m=16, ef_construction=200):
        self.label, self.m, self.ef_construction = f"hnswlib M={m} efc={ef_construction}", m, ef_construction

    def build(self, base, metric, threads):
        import hnswlib

        self.index = hnswlib.Index("l2" if metric == "l2" else "ip", base.shape[1])
        self.index.init_index(len(base), M=self.m, ef_construction=self.ef_construction, random_seed=1)
        self.index.add_items(base, num_threads=threads)

    def set(self, param):
        self.index.set_ef(param)

    def search(self, queries):
        return self.index.knn_query(queries, K, num_threads=1)[0]


class Usearch:
    module = "usearch"
    params = EFS

    def __init__(self, dtype="f32", m=16, ef_construction=128):
        self.label, self.dtype, self.m, self.ef_construction = f"usearch M={m} efc={ef_construction} {dtype}", dtype, m, ef_construction

    def build(self, base, metric, threads):
        from usearch.index import Index

        kind = "l2sq" if metric == "l2" else "ip"
        self.index = Index(ndim=base.shape[1], metric=kind, dtype=self.dtype, connectivity=self.m, expansion_add=self.ef_construction)
        self.index.add(np.arange(len(base)), base, threads=threads)

    def set(self, param):
        self.index.expansion_search = param

    def search(self, queries):
        keys = self.index.search(queries, K, threads=1).keys
        return np.asarray(keys).reshape(len(queries), -1)


class Faiss:
    """A faiss index by its factory text; those with RFlat re-rank `over` times ten rows with the full vectors."""

    module = "faiss"
    can_filter = True

    def __init__(self, label, factory, ef_construction=200, over=1):
        self.label, self.factory, self.ef_construction, self.over = label, factory, ef_construction, over
        self.is_graph = "HNSW" in factory
        self.params = EFS if self.is_graph else PROBES if "IVF" in factory else [0]

    def build(self, base, metric, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        lists = 2 ** round(math.log2(4 * math.sqrt(len(base))))
        text = self.factory.replace("IVF", f"IVF{lists}").replace("PQ", f"PQ{base.shape[1] // 2}x4fs")
        self.index = faiss.index_factory(base.shape[1], text, faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
        self.reranks = "RFlat" in text
        self.inner = faiss.downcast_index(self.index.base_index if self.reranks else self.index)
        if self.is_graph:
            self.inner.hnsw.efConstruction = self.ef_construction
        if not self.index.is_trained:
            self.index.train(np.asarray(base))
        self.index.add(np.asarray(base))
        faiss.omp_set_num_threads(1)
        self.selector = None

    def filter(self, allowed):
        import faiss

        # The selector points into the bytes.
        self.bits = np.packbits(allowed, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(self.bits)

    def set(self, param):
        import faiss

        if self.is_graph:
            self.params_now = faiss.SearchParametersHNSW(efSearch=param)
        elif "IVF" in self.factory:
            self.params_now = faiss.SearchParametersIVF(nprobe=param)
        else:
            self.params_now = faiss.SearchParameters()
        if self.selector is not None:
            self.params_now.sel = self.selector
        if self.reranks:
            if self.is_graph:
                self.inner.hnsw.efSearch = param
            else:
                self.inner.nprobe = param
            self.index.k_factor = min(self.over, max(1, param / K)) if self.is_graph else self.over

    def search(self, queries):
        if self.reranks:
            return self.index.search(queries, K)[1]
        return self.index.search(queries, K, params=self.params_now)[1]


class Svs:
    """Intel's Scalable Vector Search: Vamana; its LVQ codes run on Intel's processors only."""

    module = "svs"
    params = EFS

    def __init__(self, kind, degree=32, window=100):
        self.label, self.kind, self.degree, self.window = f"svs Vamana R={degree} w={window} {kind}", kind, degree, window

    def build(self, base, metric, threads):
        import tempfile

        import svs

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "base.fvecs")
            svs.write_vecs(np.ascontiguousarray(base), path)
            data = svs.VectorDataLoader(path, svs.DataType.float32, dims=base.shape[1])
            if self.kind.startswith("LVQ"):
                primary, *residual = self.kind[3:].split("x")
                data = svs.LVQLoader(data, primary=int(primary), residual=int(residual[0]) if residual else 0)
            is_l2 = metric == "l2"
            build = svs.VamanaBuildParameters(alpha=1.2 if is_l2 else 0.95, graph_max_degree=self.degree, window_size=self.window)
            distance = svs.DistanceType.L2 if is_l2 else svs.DistanceType.MIP
            self.index = svs.Vamana.build(build, data, distance_type=distance, num_threads=threads)
        self.index.num_threads = 1

    def set(self, param):
        self.index.search_window_size = param

    def search(self, queries):
        return self.index.search(queries, K)[0]


class Scann:
    """Google's ScaNN: tree with SOAR, anisotropic 4-bit codes, exact re-rank of 100."""

    module = "scann"
    label = "scann tree SOAR AH2 reorder 100"
    params = PROBES[1:]

    def build(self, base, metric, threads):
        import scann

        leaves = max(2, int(2 * math.sqrt(len(base))))
        sample = min(len(base), 100_000)
        kind = "squared_l2" if metric == "l2" else "dot_product"
        soar = {} if metric == "l2" else {"soar_lambda": 1.5}
        builder = scann.scann_ops_pybind.builder(np.asarray(base), K, kind)
        builder = builder.tree(num_leaves=leaves, num_leaves_to_search=max(1, leaves // 20), training_sample_size=sample, **soar)
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).set_n_training_threads(threads)
        self.index = builder.build()

    def set(self, param):
        self.leaves = param

    def search(self, queries):
        how = {"final_num_neighbors": K, "leaves_to_search": self.leaves, "pre_reorder_num_neighbors": 100}
        if len(queries) == 1:
            return self.index.search(queries[0], **how)[0][None]
        return self.index.search_batched(queries, **how)[0]


class SymphonyQg:
    """SymphonyQG of the RaBitQ library."""

    module = "rabitqlib"
    label = "RaBitQ-lib SymphonyQG R=32"
    params = EFS

    def build(self, base, metric, threads):
        import rabitqlib

        kind = getattr(rabitqlib, "SymqgIndex", None) or rabitqlib.SymQGIndex
        self.index = kind(dim=base.shape[1], max_degree=32, metric="l2" if metric == "l2" else "ip")
        self.index.build(np.asarray(base), ef_construction=200, num_threads=threads)

    def set(self, param):
        self.ef = param

    def search(self, queries):
        return np.asarray(self.index.search(queries, k=K, ef=self.ef, num_threads=1)[0])


PEERS = {
    "hnswlib": lambda: Hnswlib(),
    "hnswlib-m32": lambda: Hnswlib(m=32),
    "usearch": lambda: Usearch(),
    "usearch-bf16": lambda: Usearch("bf16"),
    "usearch-m32": lambda: Usearch(m=32, ef_construction=200),
    "faiss-hnsw": lambda: Faiss("faiss HNSW16 efc=200", "HNSW16,Flat"),
    "faiss-hnsw-m32": lambda: Faiss("faiss HNSW32 efc=200", "HNSW32,Flat"),
    "faiss-hnsw-sq8": lambda: Faiss("faiss HNSW16,SQ8,RFlat", "HNSW16,SQ8,RFlat", over=4),
    "faiss-flat": lambda: Faiss("faiss Flat", "Flat"),
    "faiss-ivf": lambda: Faiss("faiss IVF,Flat", "IVF,Flat"),
    "faiss-ivf-pqfs": lambda: Faiss("faiss IVF,PQfs,RFlat", "IVF,PQ,RFlat", over=10),
    "faiss-ivf-rabitq": lambda: Faiss("faiss IVF,RaBitQfs,RFlat", "IVF,RaBitQfs,RFlat", over=10),
    "svs-lvq8": lambda: Svs("LVQ8"),
    "svs-lvq4x8": lambda: Svs("LVQ4x8"),
    "svs-lvq4x8-r64": lambda: Svs("LVQ4x8", degree=64, window=200),
    "svs-f32": lambda: Svs("f32"),
    "scann": Scann,
    "symphonyqg": SymphonyQg,
}
DEFAULT_PEERS = "hnswlib,hnswlib-m32,usearch,faiss-hnsw,faiss-hnsw-m32"
DEFAULT_FILTER_PEERS = "faiss-flat,faiss-hnsw,faiss-ivf"


# ---------------------------------------------------------------- one peer in its own process
def worker(args):
    """Builds, then sweeps once for each line on standard input; answers with a JSON line each."""
    answers = os.fdopen(os.dup(1), "w")
    # Libraries may print: that must not mix with the answers.
    os.dup2(2, 1)
    peer = PEERS[args.worker]()
    base, queries = map_rows(args.base), np.array(map_rows(args.queries))
    allowed = passes(len(base), args.filter) if args.filter else None
    thresholds = thresholds_of(base, queries, args.metric, allowed) if args.filter else read_truth(args.truth)[1][:, K - 1]
    gc.collect()
    before, started, used = anonymous_mib(), time.monotonic(), time.process_time()
    # The peer reads the file's pages, which are not anonymous.
    peer.build(base, args.metric, args.build_threads)
    took, used = time.monotonic() - started, time.process_time() - used
    built = dict(label=peer.label, build_seconds=took, build_cpu_seconds=used, memory_mib=anonymous_mib() - before)
    if allowed is not None:
        peer.filter(allowed)
    print(json.dumps(built), file=answers, flush=True)
    for _ in sys.stdin:
        points = []
        for param in peer.params:
            points.append(measure(peer, param, base, queries, thresholds, args, allowed))
            if points[-1]["recall"] >= args.recall_max:
                break
        print(json.dumps(points), file=answers, flush=True)


def measure(peer, param, base, queries, thresholds, args, allowed):
    """One point of the curve."""
    peer.set(param)
    peer.search(queries[: CHUNK * 2])
    rates, found, began = [], [], time.monotonic()
    for repetition in range(args.repetitions):
        for start in range(0, len(queries), CHUNK):
            chunk = queries[start : start + CHUNK]
            used = time.process_time()
            ids = peer.search(chunk)
            rates.append(len(chunk) / max(time.process_time() - used, 1e-9))
            if repetition == 0:
                found.append(np.asarray(ids))
        if time.monotonic() - began > args.point_seconds_max:
            break
    single = np.full(min(len(queries), SINGLES_MAX), np.inf)
    for _ in range(args.repetitions):
        for number in range(len(single)):
            query = queries[number : number + 1]
            started = time.perf_counter()
            peer.search(query)
            single[number] = min(single[number], time.perf_counter() - started)
        if time.monotonic() - began > 2 * args.point_seconds_max:
            break
    got = recall(base, queries, np.concatenate(found), thresholds, args.metric, allowed)
    p50, p99 = np.percentile(single, [50, 99]) * 1e6
    return dict(param=param, recall=round(got, 5), qps=round(float(np.median(rates)), 1), p50_us=round(p50, 1), p99_us=round(p99, 1))


class Peer:
    """A worker process; sleeps unless asked."""

    def __init__(self, name, args):
        flags = ["--base", args.base, "--queries", args.queries, "--truth", args.truth, "--metric", args.metric]
        flags += ["--build-threads", str(args.build_threads), "--repetitions", str(args.repetitions)]
        flags += ["--point-seconds-max", str(args.point_seconds_max), "--recall-max", str(args.recall_max)]
        flags += (["--filter", str(args.filter)] if args.filter else [])
        self.name = name
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--worker", name, *flags], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=None if args.verbose else subprocess.DEVNULL, text=True)
        self.rounds = []
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} does not build (see --verbose)")
        self.built = json.loads(line)

    def round(self):
        self.process.stdin.write("sweep\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended (see --verbose)")
        self.rounds.append(json.loads(line))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """Our command; builds anew in each round, as it keeps no process between."""

    name = "ours"

    def __init__(self, args):
        command = shlex.split(args.ours)
        if os.path.basename(command[0]) == "gotham" and len(command) == 1:
            command += ["bench", "search"]
        if "{stem}" in command:
            command = [args.base.removesuffix(".base.fbin") if word == "{stem}" else word for word in command]
        else:
            command += ["--base", args.base, "--queries", args.queries, "--truth", args.truth]
        command += ["--filter", str(args.filter)] if args.filter else []
        self.command = command + ["--json"]
        self.built, self.rounds = dict(label="gotham", build_seconds=math.nan, memory_mib=math.nan), []

    def round(self):
        ran = subprocess.run(self.command, stdout=subprocess.PIPE, text=True, check=True)
        answer = json.loads(ran.stdout[ran.stdout.index("{") :])
        mib = answer["rows"] / 2**20
        self.built.update(build_seconds=answer["build_seconds"], memory_mib=answer["hot_bytes_per_row"] * mib,
                          mapped_mib=answer["cold_bytes_per_row"] * mib)
        self.rounds.append([ours_point(point) for point in answer["points"]])

    def close(self):
        pass


def ours_point(point):
    """A point of our answer in the names of this file."""
    strategy, effort, rerank = point["strategy"], point["effort"], point["rerank"]
    return dict(strategy=strategy, param=f"{strategy} {effort}/{rerank}", recall=point["recall"], qps=point["queries_per_second"],
                p50_us=point["p50_us"], p99_us=point["p99_us"])


# ---------------------------------------------------------------- the comparison
def median_points(rounds):
    """The curve with each point's median over the rounds."""
    by_param = {}
    for points in rounds:
        for point in points:
            by_param.setdefault(str(point["param"]), []).append(point)
    keys = ("recall", "qps", "p50_us", "p99_us")
    return [{**points[0], **{k: float(np.median([p[k] for p in points])) for k in keys}} for points in by_param.values()]


def row_of(participant):
    at = {str(t): [at_recall(points, t) for points in participant.rounds] for t in TARGETS}
    return dict(name=participant.name, **participant.built, at={t: dict(qps=float(np.median(q)), rounds=q) for t, q in at.items()},
                curve=median_points(participant.rounds))


def ratios(ours, peers):
    """Ours over the best peer, round by round."""
    result = {}
    for target in map(str, TARGETS):
        mine = ours["at"][target]["rounds"]
        best = [max(p["at"][target]["rounds"][r] for p in peers) for r in range(len(mine))]
        each = [a / b for a, b in zip(mine, best) if b > 0]
        if each:
            leader = max(peers, key=lambda p: p["at"][target]["qps"])["name"]
            result[target] = dict(median=float(np.median(each)), least=min(each), most=max(each), best_peer=leader)
    return result


def print_table(rows, report):
    print(f"\n{'':34s}{'q/s @0.95':>11s}{'q/s @0.99':>11s}{'build s':>9s}{'CPU s':>9s}{'MiB':>9s}   (0: not reached)")
    for row in rows:
        at = "".join(f"{row['at'][str(t)]['qps']:11.0f}" for t in TARGETS)
        used = row.get("build_cpu_seconds", math.nan)
        print(f"{row['label']:34s}{at}{row['build_seconds']:9.1f}{used:9.1f}{row['memory_mib']:9.0f}")
    for group, by_target in report.items():
        for target, ratio in by_target.items():
            span = f"{ratio['least']:.2f}-{ratio['most']:.2f}"
            print(f"ours / best of {group} at recall {target}: {ratio['median']:.2f} (rounds {span}; best: {ratio['best_peer']})")


def compare(args):
    names = [n for n in (args.peers or (DEFAULT_FILTER_PEERS if args.filter else DEFAULT_PEERS)).split(",") if n]
    participants = []
    for name in names:
        if importlib.util.find_spec(PEERS[name]().module) is None:
            print(f"left out, not installed: {name}", file=sys.stderr)
            continue
        if args.filter and not getattr(PEERS[name](), "can_filter", False):
            print(f"left out, cannot filter from Python: {name}", file=sys.stderr)
            continue
        try:
            participants.append(Peer(name, args))
            built = participants[-1].built
            print(f"built {built['label']}: {built['build_seconds']:.1f} s, {built['memory_mib']:.0f} MiB", file=sys.stderr)
        except RuntimeError as error:
            print(f"left out: {error}", file=sys.stderr)
    if args.ours:
        participants.append(Ours(args))
    for number in range(args.rounds):
        turn = number % max(1, len(participants))
        for participant in participants[turn:] + participants[:turn]:
            participant.round()
            print(f"round {number + 1}: {participant.name}", file=sys.stderr)
    for participant in participants:
        participant.close()
    rows = [row_of(participant) for participant in participants]
    report = {}
    if args.ours:
        ours, peers = rows[-1], rows[:-1]
        families = [row for row in peers if row["name"].startswith(FAMILIES)]
        report = {"hnswlib, usearch, faiss-HNSW": ratios(ours, families)} if families else {}
        if len(peers) > len(families):
            report["all peers"] = ratios(ours, peers)
    base = map_rows(args.base)
    facts = dict(base=os.path.basename(args.base), rows=base.shape[0], dimensions=base.shape[1], metric=args.metric, filter=args.filter,
                 rounds=args.rounds, build_threads=args.build_threads, participants=rows, ratios=report)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(facts, file, indent=1)
    print(f"{facts['base']}: {facts['rows']} x {facts['dimensions']}, {args.metric}, filter {args.filter or 'none'}, {args.rounds} rounds", end="")
    print_table(rows, report)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base")
    parser.add_argument("--queries")
    parser.add_argument("--truth")
    parser.add_argument("--metric", choices=["cosine", "l2"], default="cosine")
    parser.add_argument("--ours", help="our command; without it only the peers run")
    parser.add_argument("--peers", help=f"comma-separated [default: {DEFAULT_PEERS}; with --filter: {DEFAULT_FILTER_PEERS}]")
    parser.add_argument("--filter", type=float, help="share of the rows that pass, 0 to 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=2, help="passes over the queries for each point and round")
    parser.add_argument("--recall-max", type=float, default=0.999, help="a peer's curve ends with the first point that reaches this")
    parser.add_argument("--point-seconds-max", type=float, default=4.0)
    parser.add_argument("--build-threads", type=int, default=2)
    parser.add_argument("--json", help="write everything measured to this file")
    parser.add_argument("--verbose", action="store_true", help="show what the libraries print")
    parser.add_argument("--list", action="store_true", help="list the peers and end")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.list:
        for name, make in PEERS.items():
            peer = make()
            state = "" if importlib.util.find_spec(peer.module) else "   (not installed)"
            print(f"{name:18s} {peer.label}{state}")
        return
    if not (args.base and args.queries and args.truth):
        parser.error("--base, --queries and --truth are required")
    worker(args) if args.worker else compare(args)


if __name__ == "__main__":
    main()
