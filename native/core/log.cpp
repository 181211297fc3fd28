#include "core/log.h"

#include <llama.h>

namespace traitscope {

namespace {

constexpr size_t max_capture = 4096;

thread_local LogCapture * current = nullptr;

void on_log(ggml_log_level level, const char * text, void *) {
    // Continuation lines belong to the message before them, which was kept or dropped by its own level.
    static thread_local bool keep = false;
    if (level != GGML_LOG_LEVEL_CONT) {
        keep = level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN;
    }
    if (keep && current != nullptr) {
        current->append(text);
    }
}

} // namespace

void install_log() {
    llama_log_set(on_log, nullptr);
}

void install_log_of(void (*set)(ggml_log_callback, void *)) {
    set(on_log, nullptr);
}

LogCapture::LogCapture() : outer_(current) {
    current = this;
}

LogCapture::~LogCapture() {
    current = outer_;
}

void LogCapture::append(const char * line) {
    lines_ += line;
    if (lines_.size() > max_capture) {
        lines_.erase(0, lines_.size() - max_capture);
    }
}

std::string LogCapture::text(const std::string & fallback) const {
    std::string out;
    for (const char c : lines_) {
        if (c != '\n') {
            out += c;
        } else if (!out.empty() && out.back() != ' ') {
            out += "; ";
        }
    }
    while (!out.empty() && (out.back() == ' ' || out.back() == ';')) {
        out.pop_back();
    }
    return out.empty() ? fallback : out;
}

} // namespace traitscope
