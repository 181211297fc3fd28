#pragma once
// A GGUF that exists nowhere: a header of its own in memory, and behind it parts of another file. llama.cpp
// reads it like any file, so a model can be opened without the blocks that never run.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace traitscope {

/// Bytes of the data section: `size` of them from `begin` on, that lie at `source` in the other file. A
/// negative source: nobody reads them, and memory that is read from them stays as it is.
struct FilePart {
    int64_t begin = 0;
    int64_t size = 0;
    int64_t source = -1;
};

struct FileCloser {
    void operator()(std::FILE * file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, FileCloser>;

/// `parts` ascending and without gaps but padding. Throws ModelLoad
/// where the file is needed and cannot be opened, Internal where the system has no such streams (Windows).
FilePtr open_model_file(const std::string & path, std::vector<uint8_t> header, std::vector<FilePart> parts);

} // namespace traitscope
