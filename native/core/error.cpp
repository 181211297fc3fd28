#include "core/error.h"

namespace traitscope {

const char * code_name(ErrorCode code) {
    switch (code) {
    case ErrorCode::FileInvalid:
        return "FILE_INVALID";
    case ErrorCode::ModelLoad:
        return "MODEL_LOAD";
    case ErrorCode::ModelClosed:
        return "MODEL_CLOSED";
    case ErrorCode::AdapterInvalid:
        return "ADAPTER_INVALID";
    case ErrorCode::PromptTooLong:
        return "PROMPT_TOO_LONG";
    case ErrorCode::Compute:
        return "COMPUTE";
    case ErrorCode::OutOfMemory:
        return "OUT_OF_MEMORY";
    case ErrorCode::Aborted:
        return "ABORTED";
    case ErrorCode::Internal:
        return "INTERNAL";
    }
    return "INTERNAL";
}

void fail_internal(const std::string & message) {
    throw Error(ErrorCode::Internal, message);
}

} // namespace traitscope
