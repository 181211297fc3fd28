#pragma once
// llama.cpp explains failures only in its log. LogCapture keeps what the current thread is told while it
// lives.

#include <ggml.h>
#include <string>

namespace traitscope {

/// Routes llama.cpp's and ggml's log to the captures below; call once before anything else of llama.cpp.
void install_log();

/// The same for another copy of ggml in this process, by its `ggml_log_set`: a published backend brings one.
void install_log_of(void (*set)(ggml_log_callback, void *));

class LogCapture {
  public:
    LogCapture();
    ~LogCapture();
    LogCapture(const LogCapture &) = delete;
    LogCapture & operator=(const LogCapture &) = delete;

    /// Warnings and errors since construction, newest last, one line; `fallback` if there were none.
    std::string text(const std::string & fallback) const;

    void append(const char * line);

  private:
    std::string lines_;
    LogCapture * outer_;
};

} // namespace traitscope
