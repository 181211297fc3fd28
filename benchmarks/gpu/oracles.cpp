#include "case_file.h"
#include "core/error.h"
#include "core/model.h"
#include "steps.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

namespace traitscope::gpu {

namespace {

std::vector<std::string> case_files(const std::string & folder) {
    std::vector<std::string> files;
    for (const auto & entry : std::filesystem::directory_iterator(folder)) {
        files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
}

} // namespace

double worst_row(const std::vector<float> & rows, const std::vector<float> & expected, size_t n_rows) {
    if (rows.size() != expected.size() || n_rows == 0 || rows.size() % n_rows != 0) {
        fail_internal(std::to_string(rows.size()) + " numbers were computed, expected " +
                      std::to_string(expected.size()));
    }
    const size_t width = rows.size() / n_rows;
    double worst = 0;
    for (size_t row = 0; row < n_rows; ++row) {
        double difference = 0;
        double norm = 0;
        for (size_t i = row * width; i < (row + 1) * width; ++i) {
            const double d = static_cast<double>(rows[i]) - static_cast<double>(expected[i]);
            difference += d * d;
            norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
        }
        const double distance = std::sqrt(difference / norm);
        worst = std::isnan(distance) || distance > worst ? distance : worst;
        if (std::isnan(worst)) {
            break;
        }
    }
    return worst;
}

/// All layers in one pass; and, split, the last layer but one, since the last block is never split.
Json check_oracles(const Suite & suite) {
    Json list = Json::list();
    for (const std::string & path : case_files(suite.prepared + "/oracles")) {
        const CaseFile given(path);
        const auto layers = given.integers("layers");
        const auto n_blocks = static_cast<int32_t>(layers.size());
        ModelParams params;
        params.source.path = suite.prepared + "/" + given.text("model");
        params.placement = {suite.device, n_blocks, suite.device.empty() ? 0 : n_blocks,
                            n_blocks,     true,     false};
        params.n_threads = suite.n_threads;
        params.max_tokens = static_cast<int32_t>(given.number("cells"));
        params.f16_sums = given.number("f16Sums") != 0;
        const auto model = Model::open(params, {});

        ExtractRequest request;
        request.batches = {given.batch()};
        request.n_rows = given.number("rows");
        request.layers = layers;
        if (given.has("adapter")) {
            const std::vector<uint8_t> adapter = given.bytes("adapter");
            request.adapters = {{model->attach(adapter.data(), adapter.size()), 1.0F}};
        }
        const auto n_rows = static_cast<size_t>(request.n_rows);
        const auto width = static_cast<size_t>(model->info().n_embd);
        std::vector<float> states(n_rows * layers.size() * width);
        model->extract(request, states.data(), {});

        const size_t before_last = layers.size() - 2;
        request.layers = {layers[before_last]};
        request.split_from = 1;
        std::vector<float> split(n_rows * width);
        if (model->extract(request, split.data(), {}).context_tokens == 0) {
            fail_internal(path + " was not split: no row may read a token that others continue");
        }
        std::vector<float> unsplit;
        for (size_t row = 0; row < n_rows; ++row) {
            const auto from =
                states.begin() + static_cast<std::ptrdiff_t>((row * layers.size() + before_last) * width);
            unsplit.insert(unsplit.end(), from, from + static_cast<std::ptrdiff_t>(width));
        }
        list.add(Json::object()
                     .add("name", given.text("name"))
                     .add("relativeL2", worst_row(states, given.floats("states"), n_rows))
                     .add("splitAgainstUnsplit", worst_row(split, unsplit, n_rows))
                     .add("tolerance", given.floats("tolerance").at(0)));
    }
    return list;
}

} // namespace traitscope::gpu
