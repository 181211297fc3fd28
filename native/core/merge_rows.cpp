#include "core/merge_rows.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace traitscope {

namespace {

constexpr float max_half = 65504.0F;
/// Below this many elements a thread costs more than it saves.
constexpr int64_t elements_per_thread = 1 << 16;

bool is_finite(const float * values, size_t n) {
    float sum = 0; // x - x is 0 for finite x and NaN otherwise, and a sum keeps a NaN
    for (size_t i = 0; i < n; ++i) {
        sum += values[i] - values[i];
    }
    return sum == 0.0F;
}

ggml_to_float_t reader(ggml_type type) {
    return type >= 0 && type < GGML_TYPE_COUNT ? ggml_get_type_traits(type)->to_float : nullptr;
}

void require(bool ok, const RowMerge & merge, const char * what) {
    if (!ok) {
        fail_internal("merging " + merge.name + ": " + what);
    }
}

/// Everything below reads without looking at a size again.
void check(const RowMerge & merge) {
    const auto size = [](int64_t n, int64_t m) { return static_cast<size_t>(n) * static_cast<size_t>(m); };
    require(merge.rows > 0 && merge.columns > 0 && merge.rank >= 0 && merge.n_threads > 0, merge,
            "bad shape");
    require(merge.source == GGML_TYPE_F32 || reader(merge.source) != nullptr, merge,
            "the base's type is unreadable");
    require(merge.columns % ggml_blck_size(merge.source) == 0, merge, "rows are no whole number of blocks");
    require(merge.base.size == 0 || merge.base.size == ggml_row_size(merge.source, merge.columns) *
                                                           static_cast<size_t>(merge.rows),
            merge, "bad size of the base");
    require(merge.a.size == size(merge.rank, merge.columns), merge, "bad size of A");
    require(merge.b.size == size(merge.rows, merge.rank), merge, "bad size of B");
    require(merge.replaced.size == 0 || merge.replaced.size == static_cast<size_t>(merge.rows), merge,
            "bad number of replaced rows");
    require(merge.replacement.size % static_cast<size_t>(merge.columns) == 0, merge,
            "bad size of the replacement");
    const auto replacements = static_cast<int64_t>(merge.replacement.size) / merge.columns;
    require(std::all_of(merge.replaced.data, merge.replaced.data + merge.replaced.size,
                        [&](int32_t row) { return row >= -1 && row < replacements; }),
            merge, "a replaced row is out of range");
    require(merge.row_norms.size == 0 || merge.row_norms.size == static_cast<size_t>(merge.rows), merge,
            "bad number of row norms");
    require(merge.column_factors.size == 0 || merge.column_factors.size == static_cast<size_t>(merge.columns),
            merge, "bad number of column factors");
}

/// Calls `work(begin, end)` on several threads, on as many as can be had; rethrows the first exception.
void for_row_ranges(const RowMerge & merge, const std::function<void(int64_t, int64_t)> & work) {
    const int64_t useful = merge.rows * merge.columns / elements_per_thread + 1;
    const int64_t n = std::min({static_cast<int64_t>(merge.n_threads), useful, merge.rows});
    std::mutex mutex;
    std::exception_ptr error;
    const auto guarded = [&](int64_t i) {
        try {
            work(merge.rows * i / n, merge.rows * (i + 1) / n);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex);
            error = error ? error : std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(n));
    for (int64_t i = 1; i < n; ++i) {
        try {
            threads.emplace_back(guarded, i);
        } catch (const std::system_error &) {
            guarded(i);
        }
    }
    guarded(0);
    for (std::thread & thread : threads) {
        thread.join();
    }
    if (error) {
        std::rethrow_exception(error);
    }
}

/// One thread's view of the merge, row by row.
class RowReader {
  public:
    explicit RowReader(const RowMerge & merge)
        : merge_(merge), n_(static_cast<size_t>(merge.columns)), to_float_(reader(merge.source)),
          row_bytes_(ggml_row_size(merge.source, merge.columns)) {}

    void base(int64_t row, float * out) const {
        if (merge_.base.size == 0) {
            std::fill_n(out, n_, 0.0F);
            return;
        }
        const uint8_t * bytes = merge_.base.data + static_cast<size_t>(row) * row_bytes_;
        if (to_float_ != nullptr) {
            to_float_(bytes, out, merge_.columns);
        } else {
            std::memcpy(out, bytes, row_bytes_);
        }
        if (!is_finite(out, n_)) {
            throw Error(ErrorCode::FileInvalid, "row " + std::to_string(row) + " of these rows of " +
                                                    merge_.name + " is not finite in the base model");
        }
    }

    /// Base or replacement, plus B·A.
    void changed(int64_t row, float * out) const {
        const auto i = static_cast<size_t>(row);
        const int32_t from = merge_.replaced.size == 0 ? -1 : merge_.replaced.data[i];
        if (from < 0) {
            base(row, out);
        } else {
            std::copy_n(merge_.replacement.data + static_cast<size_t>(from) * n_, n_, out);
        }
        const auto rank = static_cast<size_t>(merge_.rank);
        for (size_t k = 0; k < rank; ++k) {
            const float factor = merge_.b.data[i * rank + k];
            const float * a = merge_.a.data + k * n_;
            for (size_t j = 0; j < n_; ++j) {
                out[j] += factor * a[j];
            }
        }
    }

  private:
    const RowMerge & merge_;
    size_t n_;
    ggml_to_float_t to_float_;
    size_t row_bytes_;
};

void scale_to_norm(float * row, size_t n, float norm) {
    double squares = 0;
    for (size_t j = 0; j < n; ++j) {
        squares += static_cast<double>(row[j]) * static_cast<double>(row[j]);
    }
    const auto factor = static_cast<float>(static_cast<double>(norm) / std::sqrt(squares));
    for (size_t j = 0; j < n; ++j) {
        row[j] *= factor;
    }
}

/// Quantises one row and says whether the result is sound.
bool store(ggml_type type, const float * row, int64_t n, uint8_t * out) {
    const auto outside = [](float value) { return std::fabs(value) > max_half; };
    if (!is_finite(row, static_cast<size_t>(n)) ||
        (type == GGML_TYPE_F16 && std::any_of(row, row + n, outside))) {
        return false;
    }
    const size_t written = ggml_quantize_chunk(type, row, out, 0, 1, n, nullptr);
    return ggml_validate_row_data(type, out, written);
}

} // namespace

bool can_requantize(ggml_type type) {
    switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_Q2_K:
    case GGML_TYPE_Q3_K:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_IQ4_XS:
        return true;
    default:
        return false;
    }
}

void merge_rows(const RowMerge & merge, View<uint8_t> out, const Job & job) {
    check(merge);
    require(can_requantize(merge.target) && merge.columns % ggml_blck_size(merge.target) == 0, merge,
            "the target type does not fit");
    const size_t out_bytes = ggml_row_size(merge.target, merge.columns);
    require(out.size == out_bytes * static_cast<size_t>(merge.rows), merge, "bad size of the result");
    const auto n = static_cast<size_t>(merge.columns);
    const bool partly = merge.strength != 1.0F;
    for_row_ranges(merge, [&](int64_t begin, int64_t end) {
        const RowReader source(merge);
        std::vector<float> row(n);
        std::vector<float> base(partly ? n : 0);
        for (int64_t i = begin; i < end; ++i) {
            job.throw_if_cancelled();
            source.changed(i, row.data());
            if (merge.row_norms.size > 0) {
                scale_to_norm(row.data(), n, merge.row_norms.data[i]);
            }
            for (size_t j = 0; j < merge.column_factors.size; ++j) {
                row[j] *= merge.column_factors.data[j];
            }
            if (partly) {
                source.base(i, base.data());
                for (size_t j = 0; j < n; ++j) {
                    row[j] = base[j] + merge.strength * (row[j] - base[j]);
                }
            }
            if (!store(merge.target, row.data(), merge.columns,
                       out.data + static_cast<size_t>(i) * out_bytes)) {
                throw Error(ErrorCode::AdapterInvalid,
                            "the merged " + merge.name + " is not finite or does not fit " +
                                ggml_type_name(merge.target) +
                                "; the adapter has diverged, or choose a wider type");
            }
        }
    });
}

void add_column_squares(const RowMerge & merge, View<double> out, const Job & job) {
    check(merge);
    const auto n = static_cast<size_t>(merge.columns);
    require(out.size == n, merge, "bad number of columns");
    std::mutex mutex;
    for_row_ranges(merge, [&](int64_t begin, int64_t end) {
        const RowReader source(merge);
        std::vector<float> row(n);
        std::vector<double> sums(n);
        for (int64_t i = begin; i < end; ++i) {
            job.throw_if_cancelled();
            source.changed(i, row.data());
            for (size_t j = 0; j < n; ++j) {
                sums[j] += static_cast<double>(row[j]) * static_cast<double>(row[j]);
            }
        }
        const std::lock_guard<std::mutex> lock(mutex);
        for (size_t j = 0; j < n; ++j) {
            out.data[j] += sums[j];
        }
    });
}

} // namespace traitscope
