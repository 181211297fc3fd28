#pragma once
// The core's one exception type. The addon maps it to TypeScript's TraitscopeError in one place.

#include <stdexcept>
#include <string>

namespace traitscope {

/// Names equal the stable codes of lib/errors.ts.
enum class ErrorCode {
    FileInvalid,
    ModelLoad,
    ModelClosed,
    AdapterInvalid,
    PromptTooLong,
    Compute,
    OutOfMemory,
    Aborted,
    Internal,
};

const char * code_name(ErrorCode code);

class Error : public std::runtime_error {
  public:
    Error(ErrorCode code, const std::string & message) : std::runtime_error(message), code_(code) {}
    ErrorCode code() const noexcept { return code_; }

  private:
    ErrorCode code_;
};

/// A broken promise between TypeScript and the core: never the user's mistake.
[[noreturn]] void fail_internal(const std::string & message);

} // namespace traitscope
