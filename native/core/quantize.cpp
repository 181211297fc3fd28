#include "core/quantize.h"

#include "core/engine.h"
#include "core/error.h"
#include "core/log.h"

#include <llama.h>

namespace traitscope {

namespace {

llama_ftype file_type(const std::string & type) {
    static constexpr struct {
        const char * name;
        llama_ftype value;
    } known[] = {
        {"F32", LLAMA_FTYPE_ALL_F32},      {"F16", LLAMA_FTYPE_MOSTLY_F16},
        {"BF16", LLAMA_FTYPE_MOSTLY_BF16}, {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},
        {"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0}, {"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M},
    };
    for (const auto & each : known) {
        if (type == each.name) {
            return each.value;
        }
    }
    fail_internal("no file type is called " + type);
}

} // namespace

void quantize_file(const std::string & input, const std::string & output, const std::string & type,
                   int32_t n_threads) {
    init_engine();
    llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = file_type(type);
    params.nthread = n_threads;
    params.allow_requantize = true;
    const LogCapture log;
    if (llama_model_quantize(input.c_str(), output.c_str(), &params) != 0) {
        throw Error(ErrorCode::ModelLoad, "llama.cpp could not write " + input + " as " + type + ": " +
                                              log.text("no reason given"));
    }
}

} // namespace traitscope
