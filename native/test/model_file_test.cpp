// A file of a header and parts of another file, read as llama.cpp reads one.

#include "core/model_file.h"
#include "test/check.h"

#include <cstdlib>
#include <numeric>
#include <string>
#include <unistd.h>

using namespace traitscope;

namespace {

struct TemporaryFile {
    std::string path = "/tmp/traitscope-core-XXXXXX";

    explicit TemporaryFile(const std::vector<uint8_t> & bytes) {
        const FilePtr file(fdopen(mkstemp(path.data()), "w"));
        std::fwrite(bytes.data(), 1, bytes.size(), file.get());
    }
    ~TemporaryFile() { unlink(path.c_str()); }
};

} // namespace

void test_model_file() {
    std::vector<uint8_t> source(100);
    std::iota(source.begin(), source.end(), uint8_t{0});
    const TemporaryFile file(source);
    const std::vector<uint8_t> header = {200, 201, 202};
    const std::vector<FilePart> parts = {{0, 5, 40}, {8, 4, -1}, {16, 10, 90}};
    const FilePtr stream = open_model_file(file.path, header, parts);

    std::fseek(stream.get(), 0, SEEK_END);
    check(std::ftell(stream.get()) == 3 + 26, "model file: should be as long as header and parts");
    std::rewind(stream.get());
    std::vector<uint8_t> bytes(29, 77);
    check(std::fread(bytes.data(), bytes.size(), 1, stream.get()) == 1, "model file: should be read whole");
    const std::vector<uint8_t> expected = {200, 201, 202, 40, 41, 42, 43, 44, 0,  0,  0,  0,  0,  0, 0,
                                           0,   0,   0,   0,  90, 91, 92, 93, 94, 95, 96, 97, 98, 99};
    check(bytes == expected, "model file: should hold header, parts, and zeros");
    check(std::fread(bytes.data(), 1, 1, stream.get()) == 0 && std::feof(stream.get()) != 0,
          "model file: should end");
    std::fseek(stream.get(), 3 + 18, SEEK_SET);
    check(std::fread(bytes.data(), 3, 1, stream.get()) == 1 && bytes[0] == 92 && bytes[2] == 94,
          "model file: should be read from anywhere");

    const FilePtr short_file = open_model_file(file.path, header, {{0, 20, 90}});
    bytes.assign(23, 0);
    check(std::fread(bytes.data(), 23, 1, short_file.get()) == 0,
          "model file: should say that the other file became shorter");
    check_throws(ErrorCode::ModelLoad, "model file: should say that the other file is gone",
                 [&] { open_model_file(file.path + ".gone", header, parts); });
    check(open_model_file("nowhere", header, {{0, 20, -1}}) != nullptr,
          "model file: should need no file for zeros");
}
