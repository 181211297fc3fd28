#include "case_file.h"

#include "core/error.h"

namespace traitscope::gpu {

CaseFile::CaseFile(const std::string & path)
    : path_(path), file_(gguf_init_from_file(path.c_str(), {true, nullptr})) {
    if (!file_) {
        fail_internal(path + " could not be read: run prepare.mjs again");
    }
}

bool CaseFile::has(const std::string & key) const {
    return gguf_find_key(file_.get(), key.c_str()) >= 0;
}

int64_t CaseFile::find(const std::string & key, gguf_type type) const {
    const int64_t id = gguf_find_key(file_.get(), key.c_str());
    if (id < 0) {
        fail_internal(path_ + " holds no " + key);
    }
    const gguf_type found = gguf_get_kv_type(file_.get(), id) == GGUF_TYPE_ARRAY
                                ? gguf_get_arr_type(file_.get(), id)
                                : gguf_get_kv_type(file_.get(), id);
    if (found != type) {
        fail_internal(path_ + ": " + key + " is " + gguf_type_name(found) + ", expected " +
                      gguf_type_name(type));
    }
    return id;
}

template <typename T> std::vector<T> CaseFile::list(const std::string & key, gguf_type type) const {
    const int64_t id = find(key, type);
    const auto * data = static_cast<const T *>(gguf_get_arr_data(file_.get(), id));
    return std::vector<T>(data, data + gguf_get_arr_n(file_.get(), id));
}

std::string CaseFile::text(const std::string & key) const {
    return gguf_get_val_str(file_.get(), find(key, GGUF_TYPE_STRING));
}

int64_t CaseFile::number(const std::string & key) const {
    return gguf_get_val_i64(file_.get(), find(key, GGUF_TYPE_INT64));
}

std::vector<uint8_t> CaseFile::bytes(const std::string & key) const {
    return list<uint8_t>(key, GGUF_TYPE_UINT8);
}

std::vector<int32_t> CaseFile::integers(const std::string & key) const {
    return list<int32_t>(key, GGUF_TYPE_INT32);
}

std::vector<int64_t> CaseFile::long_integers(const std::string & key) const {
    return list<int64_t>(key, GGUF_TYPE_INT64);
}

std::vector<float> CaseFile::floats(const std::string & key) const {
    return list<float>(key, GGUF_TYPE_FLOAT32);
}

PlanBatch CaseFile::batch() const {
    PlanBatch batch;
    batch.tokens = integers("batch.tokens");
    batch.positions = integers("batch.positions");
    batch.seq_offsets = integers("batch.seqOffsets");
    batch.seq_ids = integers("batch.seqIds");
    batch.row_offsets = integers("batch.rowOffsets");
    batch.row_tokens = integers("batch.rowTokens");
    batch.output_rows = integers("batch.outputRows");
    return batch;
}

std::vector<FilePart> CaseFile::parts(const std::string & key) const {
    const std::vector<int64_t> numbers = long_integers(key);
    std::vector<FilePart> parts;
    for (size_t i = 0; i + 2 < numbers.size(); i += 3) {
        parts.push_back({numbers[i], numbers[i + 1], numbers[i + 2]});
    }
    return parts;
}

} // namespace traitscope::gpu
