// Where a context decode ends, with the nodes offered as ggml's scheduler does it, in more orders than one.

#include "core/capture.h"
#include "test/check.h"

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

using namespace traitscope;

namespace {

struct Graph {
    std::unique_ptr<ggml_context, void (*)(ggml_context *)> context{ggml_init({1 << 20, nullptr, true}),
                                                                    ggml_free};

    ggml_tensor * memory(const std::string & name) {
        ggml_tensor * tensor = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 8, 4);
        ggml_set_name(tensor, name.c_str());
        return tensor;
    }

    ggml_tensor * store(ggml_tensor * memory) {
        ggml_tensor * rows = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 8, 1);
        return ggml_set_rows(context.get(), memory, rows,
                             ggml_new_tensor_1d(context.get(), GGML_TYPE_I64, 1));
    }

    ggml_tensor * other() {
        ggml_tensor * tensor = ggml_new_tensor_1d(context.get(), GGML_TYPE_F32, 8);
        return ggml_sqr(context.get(), tensor);
    }
};

/// How many nodes ggml_backend_sched computes of one split: it offers them one by one, computes up to the
/// first that is wanted, and leaves the split when the callback is done with it.
size_t computed(Capture & capture, const std::vector<ggml_tensor *> & nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
        if (capture.on_eval(nodes[i], true) && !capture.on_eval(nodes[i], false)) {
            return i + 1;
        }
    }
    return nodes.size();
}

/// A view by heads of three tokens becomes contiguous memory, and shows what it showed, also when a graph is
/// used again.
void test_queries() {
    constexpr int64_t size = 4;
    constexpr int64_t heads = 2;
    constexpr int64_t tokens = 3;
    const ggml_context_ptr context(ggml_init({1 << 20, nullptr, true}));
    ggml_tensor * cached = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, size, heads, tokens);
    ggml_tensor * computed = ggml_sqr(context.get(), cached);
    ggml_tensor * view = ggml_permute(context.get(), computed, 0, 2, 1, 3);
    ggml_tensor * of_cached = ggml_permute(context.get(), cached, 0, 2, 1, 3);
    const ggml_backend_ptr cpu(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
    const ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), cpu.get()));
    check(Queries::are(view, tokens), "a view by heads of what was computed should be taken for queries");
    check(!Queries::are(of_cached, tokens), "and a view of cached keys should not");
    check(!Queries::are(view, tokens + 1) && !Queries::are(computed, tokens),
          "nor one of other tokens, nor what is no view");
    std::vector<float> values(size * heads * tokens);
    std::iota(values.begin(), values.end(), 0.0F);
    Queries queries;
    for (int round = 0; round < 2; ++round) {
        ggml_backend_tensor_set(computed, values.data(), 0, values.size() * sizeof(float));
        queries.lay_out(view);
        check(ggml_is_contiguous(view) && Queries::are(view, tokens), "queries should lie head by head");
        bool same = true;
        for (int64_t i = 0; i < size * heads * tokens; ++i) {
            const int64_t head = i / size % heads;
            const int64_t token = i / size / heads;
            const auto * at = static_cast<const char *>(view->data) + (i % size) * sizeof(float);
            same = same && *reinterpret_cast<const float *>(at + token * view->nb[1] + head * view->nb[2]) ==
                               values[static_cast<size_t>(i)];
        }
        check(same, "and be the same numbers");
    }
}

/// Between blocks a decode on a device is made to wait: for an abort, and to say how far it is.
void test_pauses() {
    Graph graph;
    std::vector<ggml_tensor *> nodes;
    for (int i = 0; i < 4; ++i) {
        nodes.push_back(graph.other());
        nodes.push_back(graph.other());
        ggml_set_name(nodes.back(), ("l_out-" + std::to_string(i)).c_str());
    }
    nodes.push_back(graph.store(graph.memory("cache_k_l3")));
    nodes.push_back(graph.store(graph.memory("cache_v_l3")));
    ExtractRequest request;
    request.layers = {3};
    PlanBatch batch;
    batch.tokens = {5};
    double reported = 0;
    Job job;
    job.progress = [&](double fraction) { reported = fraction; };
    const auto run = [&](bool pauses) {
        Capture capture;
        capture.request = &request;
        capture.job = &job;
        capture.n_total = 2;
        capture.pauses = pauses;
        capture.begin(batch, {0}, true);
        const size_t n = computed(capture, nodes);
        return std::pair{n, capture.aborted};
    };
    check(run(false) == std::pair{nodes.size(), false} && reported == 0,
          "pauses: there should be none on the CPU");
    check(run(true) == std::pair{nodes.size(), false} && reported == 0.125,
          "pauses: should say how far a decode is, at first after a block");
    job.cancel->store(true);
    check(run(true) == std::pair{size_t{2}, true}, "pauses: should end a decode that is not wanted any more");
    check(run(false) == std::pair{nodes.size(), false}, "pauses: the CPU should be left to llama.cpp");

    Pause pause;
    pause.begin(1);
    check(pause.due(0), "pauses: should come after the first block, whose time is not known");
    pause.passed(0);
    check(!pause.due(1), "pauses: should not come after every block of no time");
}

} // namespace

void test_capture() {
    test_pauses();
    test_queries();
    Graph graph;
    const char * prefixes[] = {"cache_", "cache_swa_"};
    for (const std::string prefix : prefixes) {
        ggml_tensor * k0 = graph.store(graph.memory(prefix + "k_l0"));
        ggml_tensor * v0 = graph.store(graph.memory(prefix + "v_l0"));
        ggml_tensor * k1 = graph.store(graph.memory(prefix + "k_l1"));
        ggml_tensor * v1 = graph.store(graph.memory(prefix + "v_l1"));
        ggml_tensor * k11 = graph.store(graph.memory(prefix + "k_l11"));
        ggml_tensor * other = graph.other();
        ExtractRequest request;
        request.layers = {0, 1};
        PlanBatch batch;
        batch.tokens = {5};
        const auto stops_after = [&](const std::vector<ggml_tensor *> & nodes) {
            Capture capture;
            capture.request = &request;
            capture.begin(batch, {0}, true);
            const size_t n = computed(capture, nodes);
            return capture.stopped ? n : size_t{0};
        };
        check(stops_after({k0, v0, other, k1, other, v1, other, k11}) == 6,
              prefix + ": a context decode should end once keys and values are stored");
        check(stops_after({v0, k0, v1, other, other, k1, other}) == 6,
              prefix + ": and should not miss keys that a backend stores after the values");
        check(stops_after({k0, v0, k1, other}) == 0 && stops_after({v1, v0, k0, k11, v1, other}) == 0,
              prefix + ": and should not end before both are");

        Capture split;
        split.request = &request;
        split.begin(batch, {0}, true);
        check(computed(split, {v1, other}) == 2 && !split.stopped && computed(split, {k1, other}) == 1 &&
                  split.stopped,
              prefix + ": the two may lie in different splits of a graph");
        check(computed(split, {other, other}) == 1, prefix + ": later splits should end at their first node");
        split.begin(batch, {0}, true);
        check(computed(split, {k1, other}) == 2 && !split.stopped,
              prefix + ": the next decode should start from nothing");
    }
}
