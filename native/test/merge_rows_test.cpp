// Tests of core/merge_rows: every step against a plain computation, every type that can be written, bad
// input.

#include "core/merge_rows.h"
#include "test/check.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace traitscope;

namespace {

constexpr int64_t n_rows = 70;
constexpr int64_t n_columns = 256;
constexpr int64_t rank = 3;

template <typename T> View<const T> view(const std::vector<T> & values) {
    return {values.data(), values.size()};
}

std::vector<float> numbers(int64_t n, double seed, double size = 1) {
    std::vector<float> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(size * std::sin(seed * 37 + static_cast<double>(i) * 1.7));
    }
    return values;
}

std::vector<uint8_t> quantized(ggml_type type, const std::vector<float> & values, int64_t rows,
                               int64_t columns) {
    std::vector<uint8_t> bytes(ggml_row_size(type, columns) * static_cast<size_t>(rows));
    ggml_quantize_chunk(type, values.data(), bytes.data(), 0, rows, columns, nullptr);
    return bytes;
}

std::vector<float> dequantized(ggml_type type, const std::vector<uint8_t> & bytes, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    if (type == GGML_TYPE_F32) {
        std::copy_n(reinterpret_cast<const float *>(bytes.data()), n, values.data());
    } else {
        ggml_get_type_traits(type)->to_float(bytes.data(), values.data(), n);
    }
    return values;
}

struct Fixture {
    std::vector<float> values = numbers(n_rows * n_columns, 1);
    std::vector<uint8_t> base;
    std::vector<float> a = numbers(rank * n_columns, 2);
    std::vector<float> b = numbers(n_rows * rank, 3);
    RowMerge merge;

    explicit Fixture(ggml_type type = GGML_TYPE_F32) : base(quantized(type, values, n_rows, n_columns)) {
        merge.name = "blk.0.x.weight";
        merge.source = merge.target = type;
        merge.rows = n_rows;
        merge.columns = n_columns;
        merge.base = view(base);
        merge.n_threads = 2;
    }

    void add_pair() {
        merge.rank = rank;
        merge.a = view(a);
        merge.b = view(b);
    }

    std::vector<uint8_t> run(const Job & job = {}) const {
        std::vector<uint8_t> out(ggml_row_size(merge.target, n_columns) * static_cast<size_t>(n_rows));
        merge_rows(merge, {out.data(), out.size()}, job);
        return out;
    }

    std::vector<float> floats() const { return dequantized(merge.target, run(), n_rows * n_columns); }
};

double relative_l2(const std::vector<float> & a, const std::vector<double> & b) {
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
        norm += b[i] * b[i];
    }
    return std::sqrt(difference / norm);
}

/// base + B·A in double.
std::vector<double> plain_sum(const Fixture & f, const std::vector<float> & base) {
    std::vector<double> sum(base.begin(), base.end());
    for (size_t i = 0; i < static_cast<size_t>(n_rows); ++i) {
        for (size_t k = 0; k < static_cast<size_t>(rank); ++k) {
            for (size_t j = 0; j < static_cast<size_t>(n_columns); ++j) {
                sum[i * n_columns + j] +=
                    static_cast<double>(f.b[i * rank + k]) * static_cast<double>(f.a[k * n_columns + j]);
            }
        }
    }
    return sum;
}

void test_steps() {
    Fixture f;
    check(f.run() == f.base, "merge: should keep F32 rows that nothing happens to");
    f.add_pair();
    const auto sum = plain_sum(f, f.values);
    check(relative_l2(f.floats(), sum) < 1e-7, "merge: should add the product");

    const auto norms = numbers(n_rows, 4);
    f.merge.row_norms = view(norms);
    auto scaled = sum;
    for (size_t i = 0; i < static_cast<size_t>(n_rows); ++i) {
        double squares = 0;
        for (size_t j = 0; j < static_cast<size_t>(n_columns); ++j) {
            squares += sum[i * n_columns + j] * sum[i * n_columns + j];
        }
        for (size_t j = 0; j < static_cast<size_t>(n_columns); ++j) {
            scaled[i * n_columns + j] *= static_cast<double>(norms[i]) / std::sqrt(squares);
        }
    }
    check(relative_l2(f.floats(), scaled) < 1e-6, "merge: should scale rows to their norms");
    f.merge.strength = 0.25F;
    auto quarter = scaled;
    for (size_t i = 0; i < quarter.size(); ++i) {
        quarter[i] = 0.75 * static_cast<double>(f.values[i]) + 0.25 * scaled[i];
    }
    check(relative_l2(f.floats(), quarter) < 1e-6, "merge: should apply a part of the whole change");

    Fixture g;
    const auto factors = numbers(n_columns, 5);
    g.merge.column_factors = view(factors);
    std::vector<double> columns(g.values.begin(), g.values.end());
    for (size_t i = 0; i < columns.size(); ++i) {
        columns[i] *= static_cast<double>(factors[i % n_columns]);
    }
    check(relative_l2(g.floats(), columns) < 1e-7, "merge: should scale columns");

    Fixture h;
    const auto replacement = numbers(2 * n_columns, 6);
    std::vector<int32_t> replaced(n_rows, -1);
    replaced[3] = 1;
    replaced[69] = 0;
    h.merge.replaced = view(replaced);
    h.merge.replacement = view(replacement);
    const auto rows = h.floats();
    bool right = true;
    for (size_t i = 0; i < rows.size(); ++i) {
        const int32_t from = replaced[i / n_columns];
        right = right &&
                rows[i] == (from < 0 ? h.values[i]
                                     : replacement[static_cast<size_t>(from) * n_columns + i % n_columns]);
    }
    check(right, "merge: should replace the rows that are named, and no others");

    Fixture zeros;
    zeros.add_pair();
    zeros.merge.base = {};
    const auto product = plain_sum(zeros, std::vector<float>(n_rows * n_columns));
    check(relative_l2(zeros.floats(), product) < 1e-6, "merge: should start from zeros without a base");
}

void test_column_squares() {
    Fixture f;
    f.add_pair();
    const auto sum = plain_sum(f, f.values);
    std::vector<double> expected(n_columns, 1.0);
    std::vector<float> found_floats(n_columns);
    std::vector<double> found(n_columns, 1.0);
    for (size_t i = 0; i < sum.size(); ++i) {
        expected[i % n_columns] += sum[i] * sum[i];
    }
    add_column_squares(f.merge, {found.data(), found.size()}, {});
    for (size_t i = 0; i < found.size(); ++i) {
        found_floats[i] = static_cast<float>(found[i]);
    }
    check(relative_l2(found_floats, expected) < 1e-6,
          "merge: should add the squares of columns to what is there");
}

/// Each type holds the sum as well as if it had been quantised from it, from and to itself and from F16.
void test_types() {
    int32_t n_types = 0;
    for (int32_t id = 0; id < GGML_TYPE_COUNT; ++id) {
        const auto type = static_cast<ggml_type>(id);
        if (!can_requantize(type)) {
            continue;
        }
        ++n_types;
        Fixture f(type);
        f.add_pair();
        const auto base = dequantized(type, f.base, n_rows * n_columns);
        const auto sum = plain_sum(f, base);
        const std::vector<float> sum_floats(sum.begin(), sum.end());
        const auto best =
            dequantized(type, quantized(type, sum_floats, n_rows, n_columns), n_rows * n_columns);
        const double limit = 1.05 * relative_l2(best, sum) + 1e-7;
        const std::string name = ggml_type_name(type);
        check(relative_l2(f.floats(), sum) <= limit, "merge: should requantise " + name);
        f.merge.n_threads = 1;
        const auto alone = f.run();
        f.merge.n_threads = 7;
        check(f.run() == alone, "merge: should not depend on the threads, " + name);
        Fixture other(GGML_TYPE_F16);
        other.merge.target = type;
        const auto halves = dequantized(GGML_TYPE_F16, other.base, n_rows * n_columns);
        check(relative_l2(other.floats(), {halves.begin(), halves.end()}) <= limit + 0.3,
              "merge: should write F16 as " + name);
    }
    check(n_types == 15, "merge: should write 15 types");
    Fixture reading;
    reading.merge.source = GGML_TYPE_TQ1_0;
    reading.base = quantized(GGML_TYPE_TQ1_0, reading.values, n_rows, n_columns);
    reading.merge.base = view(reading.base);
    check(reading.run().size() == static_cast<size_t>(4 * n_rows * n_columns),
          "merge: should read types that it does not write");
}

void test_bad_input() {
    const auto refuses = [](ErrorCode code, const std::string & title,
                            const std::function<void(Fixture &)> & spoil) {
        Fixture f;
        f.add_pair();
        spoil(f);
        check_throws(code, "merge: should refuse " + title, [&] { f.run(); });
    };
    refuses(ErrorCode::Internal, "a type that needs an importance matrix",
            [](Fixture & f) { f.merge.target = GGML_TYPE_IQ2_XXS; });
    refuses(ErrorCode::Internal, "a type that is no type",
            [](Fixture & f) { f.merge.source = GGML_TYPE_COUNT; });
    refuses(ErrorCode::Internal, "a source that cannot be read",
            [](Fixture & f) { f.merge.source = GGML_TYPE_I32; });
    refuses(ErrorCode::Internal, "a base that is too short", [](Fixture & f) { f.merge.base.size -= 4; });
    refuses(ErrorCode::Internal, "an A that is too short", [](Fixture & f) { f.merge.a.size -= 1; });
    refuses(ErrorCode::Internal, "a B that is too long", [](Fixture & f) { f.merge.b.size += 1; });
    refuses(ErrorCode::Internal, "no rows", [](Fixture & f) { f.merge.rows = 0; });
    refuses(ErrorCode::Internal, "no threads", [](Fixture & f) { f.merge.n_threads = 0; });
    const std::vector<int32_t> outside(n_rows, 0);
    refuses(ErrorCode::Internal, "a replaced row out of range",
            [&](Fixture & f) { f.merge.replaced = view(outside); });
    const auto few = numbers(3, 1);
    refuses(ErrorCode::Internal, "too few norms", [&](Fixture & f) { f.merge.row_norms = view(few); });
    refuses(ErrorCode::AdapterInvalid, "a product that is not finite", [](Fixture & f) {
        f.a[5] = std::numeric_limits<float>::max();
        f.b[3] = 16;
    });
    refuses(ErrorCode::AdapterInvalid, "values beyond F16", [](Fixture & f) {
        f.merge.target = GGML_TYPE_F16;
        f.a[5] = 1e6F;
    });
    refuses(ErrorCode::AdapterInvalid, "values whose scale is beyond F16", [](Fixture & f) {
        f.merge.target = GGML_TYPE_Q8_0;
        f.a[5] = 1e9F;
    });
    refuses(ErrorCode::FileInvalid, "a base that is not finite", [](Fixture & f) {
        f.values[7] = std::numeric_limits<float>::quiet_NaN();
        f.base = quantized(GGML_TYPE_F32, f.values, n_rows, n_columns);
        f.merge.base = view(f.base);
    });
    Job job;
    job.cancel->store(true);
    check_throws(ErrorCode::Aborted, "merge: should stop when it is cancelled", [&] { Fixture().run(job); });
}

} // namespace

void test_merge_rows() {
    test_steps();
    test_column_squares();
    test_types();
    test_bad_input();
}
