// Tests of native/core without Node, built with AddressSanitizer and UndefinedBehaviorSanitizer.
// Usage: core_test tiny.gguf      (any small dense model whose vocabulary has at least 64 tokens)

#include "core/error.h"
#include "core/model.h"
#include "test/check.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <gguf.h>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using namespace traitscope;

void test_generate(Model & model);
void test_log();
void test_model(const Model & model, const std::string & path);

namespace {

double relative_l2(const std::vector<float> & a, const std::vector<float> & b) {
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
        norm += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(difference / norm);
}

/// Prompts {prefix, tail_0}, {prefix, tail_1}, ...: the prefix is computed once and belongs to all of them.
PlanBatch tree(const std::vector<int32_t> & prefix, const std::vector<std::vector<int32_t>> & tails) {
    PlanBatch batch;
    batch.seq_offsets.push_back(0);
    batch.row_offsets.push_back(0);
    const auto n_seq = static_cast<int32_t>(tails.size());
    const auto add = [&](int32_t token, int32_t position, int32_t first, int32_t last) {
        batch.tokens.push_back(token);
        batch.positions.push_back(position);
        for (int32_t id = first; id < last; ++id) {
            batch.seq_ids.push_back(id);
        }
        batch.seq_offsets.push_back(static_cast<int32_t>(batch.seq_ids.size()));
    };
    int32_t position = 0;
    for (const int32_t token : prefix) {
        add(token, position++, 0, n_seq);
    }
    for (int32_t i = 0; i < n_seq; ++i) {
        int32_t at = position;
        for (const int32_t token : tails[static_cast<size_t>(i)]) {
            add(token, at++, i, i + 1);
        }
        batch.row_tokens.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
        batch.row_offsets.push_back(static_cast<int32_t>(batch.row_tokens.size()));
        batch.output_rows.push_back(i);
    }
    return batch;
}

std::shared_ptr<Model> open_model(const std::string & path, const Job & job = {}) {
    ModelParams params;
    params.source.path = path;
    return Model::open(params, job);
}

struct Result {
    std::vector<float> data;
    ExtractStats stats;
};

Result extract(Model & model, const ExtractRequest & request, const Job & job = {}) {
    Result result;
    result.data.resize(static_cast<size_t>(request.n_rows) * request.layers.size() *
                       static_cast<size_t>(model.info().n_embd));
    result.stats = model.extract(request, result.data.data(), job);
    return result;
}

ExtractRequest request_of(const PlanBatch & batch, std::vector<int32_t> layers) {
    ExtractRequest request;
    request.n_rows = static_cast<int64_t>(batch.n_rows());
    request.batches = {batch};
    request.layers = std::move(layers);
    return request;
}

struct GgmlDeleter {
    void operator()(ggml_context * context) const { ggml_free(context); }
    void operator()(gguf_context * context) const { gguf_free(context); }
};

/// A rank-1 adapter on blk.0.attn_q.weight, as TypeScript writes them: alpha 0, all values `value`.
std::vector<uint8_t> lora_gguf(int64_t n_embd, int64_t n_out, float value) {
    const std::unique_ptr<ggml_context, GgmlDeleter> tensors(ggml_init({1 << 20, nullptr, false}));
    const std::unique_ptr<gguf_context, GgmlDeleter> file(gguf_init_empty());
    gguf_set_val_str(file.get(), "general.type", "adapter");
    gguf_set_val_str(file.get(), "general.architecture", "llama");
    gguf_set_val_str(file.get(), "adapter.type", "lora");
    gguf_set_val_f32(file.get(), "adapter.lora.alpha", 0.0F);
    const auto add = [&](const char * name, int64_t ne0, int64_t ne1) {
        ggml_tensor * tensor = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, ne0, ne1);
        ggml_set_name(tensor, name);
        auto * data = static_cast<float *>(tensor->data);
        for (int64_t i = 0; i < ggml_nelements(tensor); ++i) {
            data[i] = value;
        }
        gguf_add_tensor(file.get(), tensor);
    };
    add("blk.0.attn_q.weight.lora_a", n_embd, 1);
    add("blk.0.attn_q.weight.lora_b", 1, n_out);
    std::vector<uint8_t> bytes(gguf_get_meta_size(file.get()));
    gguf_get_meta_data(file.get(), bytes.data());
    for (const char * name : {"blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"}) {
        const ggml_tensor * tensor = ggml_get_tensor(tensors.get(), name);
        const auto * data = static_cast<const uint8_t *>(tensor->data);
        bytes.insert(bytes.end(), data, data + ggml_nbytes(tensor));
        bytes.resize((bytes.size() + 31) / 32 * 32);
    }
    return bytes;
}

void test_plan() {
    const PlanBatch good = tree({1, 2}, {{3}, {4, 5}});
    validate(good, 64, 2);
    validate(tree({}, {{3}}), 64, 1);
    check(true, "plan: should accept a prefix tree, and a single token");
    const auto refuses = [&](const char * title, const std::function<void(PlanBatch &)> & spoil) {
        PlanBatch bad = good;
        spoil(bad);
        check_throws(ErrorCode::Internal, std::string("plan: should refuse ") + title,
                     [&] { validate(bad, 64, 2); });
    };
    refuses("no tokens", [](PlanBatch & b) { b.tokens.clear(); });
    refuses("a token outside the vocabulary", [](PlanBatch & b) { b.tokens[0] = 64; });
    refuses("a negative token", [](PlanBatch & b) { b.tokens[0] = -1; });
    refuses("a gap in positions", [](PlanBatch & b) { b.positions[1] = 2; });
    refuses("a sequence id of 256", [](PlanBatch & b) { b.seq_ids[0] = 256; });
    refuses("a token without a sequence", [](PlanBatch & b) { b.seq_offsets[1] = 0; });
    refuses("a row outside the batch", [](PlanBatch & b) { b.row_tokens[0] = 99; });
    refuses("a row outside the result", [](PlanBatch & b) { b.output_rows[1] = 2; });
    refuses("an empty row", [](PlanBatch & b) { b.row_offsets[1] = 0; });
    refuses("sequences that join again after parting", [](PlanBatch & b) {
        b.tokens.push_back(6);
        b.positions.push_back(3);
        b.seq_ids.insert(b.seq_ids.end(), {0, 1});
        b.seq_offsets.push_back(static_cast<int32_t>(b.seq_ids.size()));
    });
}

void test_extract(const std::shared_ptr<Model> & model) {
    const int32_t n_layer = model->info().n_layer;
    const int32_t middle = n_layer / 2 - 1;
    const PlanBatch batch = tree({1, 5, 9, 13}, {{17, 21}, {25}, {29, 33, 37}});
    const Result stopped = extract(*model, request_of(batch, {middle}));

    check(stopped.stats.nodes_after_stop == 0, "extract: should compute no node after the wanted layer");
    check(stopped.stats.computed_tokens == 10, "extract: should compute a shared prefix once");
    ExtractRequest whole = request_of(batch, {middle});
    whole.stop_early = false;
    const Result full = extract(*model, whole);
    check(full.stats.nodes_offered > stopped.stats.nodes_offered,
          "extract: should walk the whole graph without the stop");
    check(full.data == stopped.data, "extract: should give the same bits with and without the early stop");
    const Result again = extract(*model, request_of(batch, {middle}));
    check(again.data == stopped.data, "extract: should repeat bit for bit");
    check(again.stats.decode_seconds > 0.0, "extract: should say how long it decoded");

    std::vector<int32_t> all_layers;
    for (int32_t i = 0; i < n_layer; ++i) {
        all_layers.push_back(i);
    }
    const Result all = extract(*model, request_of(batch, all_layers));
    const auto fresh = open_model(std::getenv("CORE_TEST_GGUF"));
    const Result first = extract(*fresh, request_of(batch, all_layers));
    check(first.data == all.data,
          "extract: a full pass after early stops should equal one in a fresh context");
    const double second = extract(*fresh, request_of(batch, all_layers)).stats.context_seconds;
    check(second < first.stats.context_seconds / 4, "extract: should keep its context");
    const auto n_embd = static_cast<size_t>(model->info().n_embd);
    std::vector<float> from_all;
    for (size_t row = 0; row < 3; ++row) {
        const auto at =
            all.data.begin() +
            static_cast<std::ptrdiff_t>((row * all_layers.size() + static_cast<size_t>(middle)) * n_embd);
        from_all.insert(from_all.end(), at, at + static_cast<std::ptrdiff_t>(n_embd));
    }
    check(relative_l2(from_all, stopped.data) < 1e-6,
          "extract: should read a layer the same alone and among others");

    const std::vector<std::vector<int32_t>> prompts = {
        {1, 5, 9, 13, 17, 21}, {1, 5, 9, 13, 25}, {1, 5, 9, 13, 29, 33, 37}};
    std::vector<float> singles;
    for (const auto & prompt : prompts) {
        const Result single = extract(*model, request_of(tree({}, {prompt}), all_layers));
        singles.insert(singles.end(), single.data.begin(), single.data.end());
    }
    const double distance = relative_l2(all.data, singles);
    std::fprintf(stderr, "prefix tree against single prompts, every block: relative L2 %.2e\n", distance);
    check(distance < 1e-5, "extract: should equal the same prompts one at a time");

    for (const int32_t cells : {1, 3, 8}) {
        for (const int64_t split_from : {int64_t{1}, std::numeric_limits<int64_t>::max()}) {
            ExtractRequest grouped = request_of(batch, {middle});
            grouped.group_cells = cells;
            grouped.split_from = split_from;
            int n_reports = 0;
            Job job;
            job.progress = [&](double) { ++n_reports; };
            const Result result = extract(*model, grouped, job);
            const std::string title = "groups of " + std::to_string(cells) + " cells: should ";
            check(relative_l2(result.data, stopped.data) < 1e-6, title + "give the same states");
            check(result.stats.computed_tokens == 10, title + "compute every token once");
            check(n_reports > 1, title + "report each group");
        }
    }
    PlanBatch breadth = tree({1}, {{5, 9}, {13, 17}}); // both branches before either ends
    breadth.positions = {0, 1, 1, 2, 2};
    std::swap(breadth.tokens[2], breadth.tokens[3]);
    breadth.seq_ids = {0, 1, 0, 1, 0, 1};
    breadth.row_tokens = {3, 4};
    ExtractRequest unordered = request_of(breadth, {middle});
    unordered.group_cells = 1;
    const Result level_by_level = extract(*model, unordered);
    const Result depth_first = extract(*model, request_of(tree({1}, {{5, 9}, {13, 17}}), {middle}));
    check(relative_l2(level_by_level.data, depth_first.data) < 1e-6,
          "extract: should not need tokens in depth-first order while they fit");

    PlanBatch mean = tree({}, {{1, 5, 9}});
    mean.row_tokens = {0, 1, 2};
    mean.row_offsets = {0, 3};
    PlanBatch each = tree({}, {{1, 5, 9}});
    each.row_tokens = {0, 1, 2};
    each.row_offsets = {0, 1, 2, 3};
    each.output_rows = {0, 1, 2};
    for (const int32_t layer : {0, n_layer - 1}) {
        const Result pooled = extract(*model, request_of(mean, {layer}));
        const Result rows = extract(*model, request_of(each, {layer}));
        std::vector<float> expected(n_embd);
        for (size_t i = 0; i < n_embd; ++i) {
            double sum = 0;
            for (size_t row = 0; row < 3; ++row) {
                sum += static_cast<double>(rows.data[row * n_embd + i]);
            }
            expected[i] = static_cast<float>(sum / 3);
        }
        check(pooled.data == expected,
              "extract: should pool rows by their mean, layer " + std::to_string(layer));
    }

    const std::vector<std::vector<int32_t>> refused = {{}, {-1, 0}, {n_layer}, {0, 0}, {1, 0}};
    for (const auto & layers : refused) {
        check_throws(ErrorCode::Internal,
                     "extract: should refuse layers that are not there, twice or not in order",
                     [&] { extract(*model, request_of(batch, layers)); });
    }
    ModelParams roomy;
    roomy.source.path = std::getenv("CORE_TEST_GGUF");
    roomy.max_tokens = 2560; // more than llama.cpp takes at once unless it is told
    ExtractRequest large = request_of(
        tree({}, std::vector<std::vector<int32_t>>(210, {1, 5, 9, 13, 17, 21, 25, 29, 33, 37})), {middle});
    large.group_cells = roomy.max_tokens;
    const Result wide = extract(*Model::open(roomy, {}), large);
    const Result lone =
        extract(*model, request_of(tree({}, {{1, 5, 9, 13, 17, 21, 25, 29, 33, 37}}), {middle}));
    check(wide.stats.computed_tokens == 2100 &&
              relative_l2({wide.data.end() - static_cast<std::ptrdiff_t>(n_embd), wide.data.end()},
                          lone.data) < 1e-5,
          "extract: should decode a large batch at once");

    check_throws(ErrorCode::PromptTooLong, "extract: should refuse a batch above the limit",
                 [&] { extract(*model, request_of(tree({}, {std::vector<int32_t>(4096, 1)}), {0})); });
}

void test_cancel(const std::shared_ptr<Model> & model) {
    ExtractRequest request = request_of(tree({1, 2}, {{3}, {4}}), {0});
    request.batches.push_back(request.batches[0]);
    Job before;
    before.cancel->store(true);
    check_throws(ErrorCode::Aborted, "cancel: should stop before the first batch",
                 [&] { extract(*model, request, before); });
    Job between;
    between.progress = [&](double) { between.cancel->store(true); };
    check_throws(ErrorCode::Aborted, "cancel: should stop between batches",
                 [&] { extract(*model, request, between); });
    const Result after = extract(*model, request);
    check(after.stats.computed_tokens == 8, "cancel: should leave the model usable");
    Job loading;
    loading.progress = [&](double) { loading.cancel->store(true); };
    check_throws(ErrorCode::Aborted, "cancel: should stop a load",
                 [&] { open_model(std::getenv("CORE_TEST_GGUF"), loading); });
}

void test_adapters(const std::shared_ptr<Model> & model) {
    const auto n_embd = static_cast<int64_t>(model->info().n_embd);
    const PlanBatch batch = tree({1, 5}, {{9, 3}, {13}});
    const auto with = [&](std::vector<std::pair<int32_t, float>> adapters) {
        ExtractRequest request = request_of(batch, {model->info().n_layer - 1});
        request.adapters = std::move(adapters);
        return extract(*model, request).data;
    };
    const auto base = with({});
    const int32_t strong =
        model->attach(lora_gguf(n_embd, n_embd, 0.3F).data(), lora_gguf(n_embd, n_embd, 0.3F).size());
    const auto changed = with({{strong, 1.0F}});
    check(relative_l2(changed, base) > 1e-4, "adapter: should change the hidden states");
    check(with({}) == base, "adapter: should leave no trace when it is not applied");
    check(with({{strong, 0.0F}}) == base, "adapter: strength 0 should equal the base");
    model->detach(strong);
    for (int i = 0; i < 20;
         ++i) { // the allocator hands out the same addresses: a stale graph would show here
        const auto bytes = lora_gguf(n_embd, n_embd, i % 2 == 0 ? 0.3F : 0.1F);
        const int32_t id = model->attach(bytes.data(), bytes.size());
        const auto states = with({{id, 1.0F}});
        check((states == changed) == (i % 2 == 0), "adapter: should be the one that was attached last");
        model->detach(id);
    }
    check_throws(ErrorCode::Internal, "adapter: should refuse an id that was detached",
                 [&] { with({{strong, 1.0F}}); });
    check_throws(ErrorCode::AdapterInvalid, "adapter: should refuse wrong shapes", [&] {
        const auto bytes = lora_gguf(n_embd + 32, n_embd, 1.0F);
        model->attach(bytes.data(), bytes.size());
    });
    check_throws(ErrorCode::AdapterInvalid, "adapter: should refuse bytes that are no GGUF",
                 [&] { model->attach("not a gguf", 10); });
    const auto infinite = lora_gguf(n_embd, n_embd, 3e38F);
    const int32_t id = model->attach(infinite.data(), infinite.size());
    check_throws(ErrorCode::Compute, "adapter: should report states that are not finite",
                 [&] { with({{id, 1.0F}}); });
    check(with({}) == base, "adapter: NaN in the cache should not reach the next plan");
    model->detach(id);
}

} // namespace

int main(int argc, char ** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: core_test model.gguf\n");
        return 2;
    }
    setenv("CORE_TEST_GGUF", argv[1], 1);
    test_plan();
    test_capture();
    test_merge_rows();
    test_sampler();
    test_model_file();
    check_throws(ErrorCode::ModelLoad, "open: should say that a file is missing",
                 [] { open_model("no such file"); });
    const auto model = open_model(argv[1]);
    const auto other = open_model(argv[1]); // two models at once
    test_log();
    test_model(*model, argv[1]);
    const Tokens tokens = model->tokenize({"hello", "", "hello hello"}, false, true);
    check(tokens.offsets.size() == 4 && tokens.offsets[1] > 0 && tokens.offsets[1] == tokens.offsets[2],
          "tokenize: should give the ids of each text, none for an empty one");
    test_extract(model);
    test_cancel(model);
    test_adapters(other);
    test_generate(*model);
    std::printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed == 0 ? 0 : 1;
}
