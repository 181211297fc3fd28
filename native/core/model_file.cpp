#include "core/model_file.h"

#include "core/error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#if !defined(_WIN32)
#include <fcntl.h>
#include <unistd.h>
#endif

namespace traitscope {

#if defined(_WIN32)

FilePtr open_model_file(const std::string &, std::vector<uint8_t>, std::vector<FilePart>) {
    fail_internal("this system has no streams of one's own");
}

#else

namespace {

class Stream {
  public:
    Stream(int source, std::vector<uint8_t> header, std::vector<FilePart> parts)
        : source_(source), header_(std::move(header)), parts_(std::move(parts)),
          size_(size_of(header_) + (parts_.empty() ? 0 : parts_.back().begin + parts_.back().size)) {}
    ~Stream() {
        if (source_ >= 0) {
            close(source_);
        }
    }
    Stream(const Stream &) = delete;
    Stream & operator=(const Stream &) = delete;

    /// Up to `size` bytes from where the stream stands; 0 at the end, -1 for an error.
    int64_t read(char * to, int64_t size) {
        size = std::min(size, size_ - at_);
        if (size <= 0) {
            return 0;
        }
        const int64_t n = at_ < size_of(header_) ? read_header(to, size) : read_data(to, size);
        at_ += n < 0 ? 0 : n;
        return n;
    }

    int64_t seek(int64_t offset, int whence) {
        const int64_t to = offset + (whence == SEEK_SET ? 0 : whence == SEEK_CUR ? at_ : size_);
        if (to < 0) {
            errno = EINVAL;
            return -1;
        }
        return at_ = to;
    }

  private:
    static int64_t size_of(const std::vector<uint8_t> & bytes) { return static_cast<int64_t>(bytes.size()); }

    int64_t read_header(char * to, int64_t size) const {
        const int64_t n = std::min(size, size_of(header_) - at_);
        std::memcpy(to, header_.data() + at_, static_cast<size_t>(n));
        return n;
    }

    int64_t read_data(char * to, int64_t size) const {
        const int64_t at = at_ - size_of(header_);
        const auto after = std::upper_bound(parts_.begin(), parts_.end(), at,
                                            [](int64_t x, const FilePart & part) { return x < part.begin; });
        const FilePart & part = *std::prev(after); // the first part begins at 0
        const int64_t within = at - part.begin;
        if (within >= part.size) { // padding, up to the next part
            const int64_t n = std::min(size, after->begin - at);
            std::memset(to, 0, static_cast<size_t>(n));
            return n;
        }
        const int64_t n = std::min(size, part.size - within);
        if (part.source < 0) {
            std::memset(to, 0, static_cast<size_t>(n));
            return n;
        }
        return pread(source_, to, static_cast<size_t>(n), part.source + within);
    }

    int source_;
    std::vector<uint8_t> header_;
    std::vector<FilePart> parts_;
    int64_t size_;
    int64_t at_ = 0;
};

Stream * stream(void * cookie) {
    return static_cast<Stream *>(cookie);
}

std::FILE * open_stream(Stream * of) {
#if defined(__GLIBC__) || defined(__linux__)
    cookie_io_functions_t functions = {};
    functions.read = [](void * cookie, char * to, size_t size) {
        return static_cast<ssize_t>(stream(cookie)->read(to, static_cast<int64_t>(size)));
    };
    functions.seek = [](void * cookie, off64_t * offset, int whence) {
        const int64_t at = stream(cookie)->seek(*offset, whence);
        *offset = at;
        return at < 0 ? -1 : 0;
    };
    functions.close = [](void * cookie) {
        delete stream(cookie);
        return 0;
    };
    return fopencookie(of, "r", functions);
#else
    return funopen(
        of,
        [](void * cookie, char * to, int size) { return static_cast<int>(stream(cookie)->read(to, size)); },
        nullptr,
        [](void * cookie, fpos_t offset, int whence) {
            return static_cast<fpos_t>(stream(cookie)->seek(offset, whence));
        },
        [](void * cookie) {
            delete stream(cookie);
            return 0;
        });
#endif
}

} // namespace

FilePtr open_model_file(const std::string & path, std::vector<uint8_t> header, std::vector<FilePart> parts) {
    int source = -1;
    const auto is_read = [](const FilePart & part) { return part.source >= 0; };
    if (std::any_of(parts.begin(), parts.end(), is_read)) {
        source = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (source < 0) {
            throw Error(ErrorCode::ModelLoad, "could not open " + path + ": " + std::strerror(errno));
        }
    }
    auto owned = std::make_unique<Stream>(source, std::move(header), std::move(parts));
    FilePtr file(open_stream(owned.get()));
    if (!file) {
        throw Error(ErrorCode::OutOfMemory, "no memory for reading " + path);
    }
    owned.release(); // closed with the stream
    // glibc copies every read of such a stream through its buffer: one that the cache holds.
    std::setvbuf(file.get(), nullptr, _IOFBF, size_t{1} << 18);
    return file;
}

#endif

} // namespace traitscope
