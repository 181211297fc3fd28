#include "case_file.h"
#include "core/engine.h"
#include "core/error.h"
#include "core/matmul_rate.h"
#include "core/model.h"
#include "steps.h"
#include "weights.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <ggml.h>
#include <limits>
#include <memory>

namespace traitscope::gpu {

namespace {

using clock = std::chrono::steady_clock;

double since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.at(values.size() / 2);
}

std::string adapter_folder(const Suite & suite, int which) {
    return suite.work + "/adapter-" + std::to_string(which);
}

std::string base_file(const Suite & suite) {
    return suite.work + "/base/model.safetensors";
}

/// Tokens in memory at once, the cells that a group fills, and whether context tokens come first.
struct Setting {
    int32_t cells = 0;
    bool split = false;
};

class Checkpoints {
  public:
    Checkpoints(const Suite & suite, const CaseFile & given)
        : suite_(suite), given_(given), layer_(static_cast<int32_t>(given.number("layer"))),
          n_embd_(static_cast<size_t>(given.number("nEmbd"))),
          n_rows_(static_cast<size_t>(given.number("rows"))), batch_(given.batch()) {
        placement_.device = suite.device;
        placement_.n_blocks = static_cast<int32_t>(given.number("blocks"));
        placement_.runs_to = layer_ + 1;
        placement_.on_device = suite.device.empty() ? 0 : placement_.runs_to;
        placement_.runs_head = false;
        source_ = {base_file(suite), given.bytes("base.gguf"), given.parts("base.parts")};
    }

    Json run();

  private:
    void open(int32_t cells) {
        model_.reset();
        ModelParams params;
        params.source = source_;
        params.placement = placement_;
        params.n_threads = suite_.n_threads;
        params.max_tokens = cells;
        model_ = Model::open(params, {});
    }

    /// Of a PEFT folder, as llama.cpp takes it.
    std::vector<uint8_t> read_adapter(int which) const {
        const std::vector<uint8_t> header = given_.bytes("adapter.gguf");
        const std::vector<FilePart> parts = given_.parts("adapter.parts");
        std::vector<uint8_t> bytes(header.size() +
                                   static_cast<size_t>(parts.back().begin + parts.back().size));
        const FilePtr file =
            open_model_file(adapter_folder(suite_, which) + "/adapter_model.safetensors", header, parts);
        if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) {
            fail_internal("an adapter ended early: remove the work folder and run the weights step again");
        }
        return bytes;
    }

    /// `adapter` 0: the bare base.
    std::vector<float> states(const Setting & setting, int32_t adapter, ExtractStats * stats = nullptr) {
        ExtractRequest request;
        request.batches = {batch_};
        request.n_rows = static_cast<int64_t>(n_rows_);
        request.layers = {layer_};
        if (adapter != 0) {
            request.adapters = {{adapter, 1.0F}};
        }
        request.group_cells = setting.cells;
        request.max_tokens = setting.cells;
        request.split_from = setting.split ? given_.number("splitFrom") : std::numeric_limits<int64_t>::max();
        std::vector<float> rows(n_rows_ * n_embd_);
        const ExtractStats found = model_->extract(request, rows.data(), {});
        if (stats != nullptr) {
            *stats = found;
        }
        return rows;
    }

    void keep(const std::vector<float> & rows, const std::string & name) const {
        std::ofstream file(suite_.work + "/" + name + ".f32", std::ios::binary);
        file.write(reinterpret_cast<const char *>(rows.data()),
                   static_cast<std::streamsize>(4 * rows.size()));
    }

    double operations(const ExtractStats & stats) const {
        return static_cast<double>(stats.computed_tokens) *
                   static_cast<double>(given_.number("operations.token")) -
               static_cast<double>(stats.context_tokens) *
                   static_cast<double>(given_.number("operations.contextTokenLess"));
    }

    Json search(Setting & best);
    Json time_checkpoints(const Setting & best);
    Json memory(const Setting & best, uint64_t free_before, const std::string & used_before);
    uint64_t free_on_device() const;
    double rate() const;

    const Suite & suite_;
    const CaseFile & given_;
    int32_t layer_;
    size_t n_embd_;
    size_t n_rows_;
    PlanBatch batch_;
    Placement placement_;
    ModelSource source_;
    std::shared_ptr<Model> model_;
};

/// Each setting once to warm up, then three times: the best counts.
Json Checkpoints::search(Setting & best) {
    const std::vector<uint8_t> adapter = read_adapter(1);
    const int32_t id = model_->attach(adapter.data(), adapter.size());
    Json list = Json::list();
    double least = std::numeric_limits<double>::infinity();
    for (const int32_t cells : given_.integers("cells")) {
        for (const bool split : {false, true}) {
            const Setting setting = {cells, split};
            ExtractStats stats;
            states(setting, id);
            double seconds = std::numeric_limits<double>::infinity();
            for (int i = 0; i < 3; ++i) {
                const auto started = clock::now();
                states(setting, id, &stats);
                seconds = std::min(seconds, since(started));
            }
            list.add(Json::object()
                         .add("cells", cells)
                         .add("split", split)
                         .add("seconds", seconds)
                         .add("computedTokens", stats.computed_tokens)
                         .add("contextTokens", stats.context_tokens)
                         .add("operations", operations(stats)));
            std::fprintf(stderr, "groups of %d cells%s: %.4f s\n", cells, split ? ", context first" : "",
                         seconds);
            if (seconds < least) {
                least = seconds;
                best = setting;
            }
        }
    }
    model_->detach(id);
    return list;
}

/// As a watched run has them: another adapter every time, read from its file.
Json Checkpoints::time_checkpoints(const Setting & best) {
    keep(states(best, 0), "states-base");
    std::vector<double> read, attach, pass, detach, whole;
    ExtractStats stats;
    std::vector<float> kept[2];
    double again = 0;
    for (int i = 0; i < static_cast<int>(given_.number("checkpoints")); ++i) {
        const auto started = clock::now();
        const std::vector<uint8_t> adapter = read_adapter(1 + i % 2);
        read.push_back(since(started));
        const auto attaching = clock::now();
        const int32_t id = model_->attach(adapter.data(), adapter.size());
        attach.push_back(since(attaching));
        const auto passing = clock::now();
        std::vector<float> rows = states(best, id, &stats);
        pass.push_back(since(passing));
        const auto detaching = clock::now();
        model_->detach(id);
        detach.push_back(since(detaching));
        whole.push_back(since(started));
        if (i < 2) {
            kept[i] = std::move(rows);
        } else {
            again = std::max(again, worst_row(rows, kept[i % 2], n_rows_));
        }
    }
    keep(kept[0], "states-1");
    keep(kept[1], "states-2");
    const double products = rate();
    return Json::object()
        .add("cells", best.cells)
        .add("split", best.split)
        .add("checkpoints", whole.size())
        .add("seconds", median(whole))
        .add("secondsBest", *std::min_element(whole.begin(), whole.end()))
        .add("readAdapterSeconds", median(read))
        .add("attachSeconds", median(attach))
        .add("passSeconds", median(pass))
        .add("detachSeconds", median(detach))
        .add("computedTokens", stats.computed_tokens)
        .add("contextTokens", stats.context_tokens)
        .add("operations", operations(stats))
        .add("productsPerSecond", products)
        .add("shareOfProducts", operations(stats) / median(pass) / products)
        .add("repeatedDifference", again)
        .add("adaptersDifference", worst_row(kept[0], kept[1], n_rows_));
}

/// The largest matrix of a block, with few and with many rows; zeros, which some devices multiply faster.
double Checkpoints::rate() const {
    double best = 0;
    for (const int64_t n_tokens : {512, 2048}) {
        const MatmulShape shape = {GGML_TYPE_BF16, given_.number("nEmbd"), given_.number("nFf"), n_tokens};
        best = std::max(best, matmul_rate(shape, suite_.n_threads, 0.5, !suite_.device.empty()));
    }
    return best;
}

uint64_t Checkpoints::free_on_device() const {
    for (const Device & each : list_devices()) {
        if (each.name == suite_.device) {
            return each.memory_free;
        }
    }
    return 0;
}

/// MiB that the whole card has in use, as its driver says; empty where there is none.
std::string used_on_card() {
    std::string text;
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> pipe(
        popen("nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits 2>/dev/null", "r"), pclose);
    char line[64];
    if (pipe && std::fgets(line, sizeof(line), pipe.get()) != nullptr) {
        text = line;
    }
    return text.substr(0, text.find('\n'));
}

Json shown(const std::vector<DeviceMemory> & devices) {
    Json list = Json::list();
    for (const DeviceMemory & each : devices) {
        list.add(Json::object()
                     .add("device", each.device)
                     .add("weights", each.weights)
                     .add("context", each.context)
                     .add("compute", each.compute)
                     .add("all", each.weights + each.context + each.compute));
    }
    return list;
}

/// What was planned before anything was allocated, what llama.cpp's buffers hold, and what the device lost.
Json Checkpoints::memory(const Setting & best, uint64_t free_before, const std::string & used_before) {
    ModelSource planned = source_;
    for (FilePart & part : planned.parts) {
        part.source = -1;
    }
    const uint64_t free_after = free_on_device();
    return Json::object()
        .add("planned", shown(plan_memory(planned, placement_, best.cells)))
        .add("taken", shown(model_->memory()))
        .add("deviceLost", static_cast<double>(free_before) - static_cast<double>(free_after))
        .add("cardUsedBeforeMiB", used_before)
        .add("cardUsedAfterMiB", used_on_card());
}

Json Checkpoints::run() {
    const std::string used_before = used_on_card();
    const std::vector<int32_t> cells = given_.integers("cells");
    Setting best;
    open(*std::max_element(cells.begin(), cells.end()));
    const Json searched = search(best);
    model_.reset();
    const uint64_t free_before = free_on_device();
    const auto opening = clock::now();
    open(best.cells);
    const double open_seconds = since(opening);
    const Json timed = time_checkpoints(best);
    const Json taken = memory(best, free_before, used_before);
    return Json::object()
        .add("shape", given_.text("shape"))
        .add("layer", layer_)
        .add("prompts", n_rows_)
        .add("promptTokens", given_.number("promptTokens"))
        .add("openSeconds", open_seconds)
        .add("groups", searched)
        .add("checkpoint", timed)
        .add("memory", taken);
}

} // namespace

Json make_weights(const Suite & suite) {
    const CaseFile given(suite.prepared + "/base.gguf");
    std::filesystem::create_directories(suite.work + "/base");
    std::filesystem::copy_file(suite.prepared + "/config.json", suite.work + "/base/config.json",
                               std::filesystem::copy_options::overwrite_existing);
    const auto started = clock::now();
    write_weights(given, "base", 1, base_file(suite));
    const double seconds = since(started);
    for (const int which : {1, 2}) {
        const std::string folder = adapter_folder(suite, which);
        std::filesystem::create_directories(folder);
        std::filesystem::copy_file(suite.prepared + "/adapter_config.json", folder + "/adapter_config.json",
                                   std::filesystem::copy_options::overwrite_existing);
        write_weights(given, "adapter", static_cast<uint64_t>(1 + which),
                      folder + "/adapter_model.safetensors");
    }
    return Json::object().add("bytes", std::filesystem::file_size(base_file(suite))).add("seconds", seconds);
}

Json measure_checkpoints(const Suite & suite) {
    const CaseFile given(suite.prepared + "/base.gguf");
    return Checkpoints(suite, given).run();
}

} // namespace traitscope::gpu
