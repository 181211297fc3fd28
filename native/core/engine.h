#pragma once
// The process-wide side of llama.cpp: its set-up, the backends that are loaded and the devices they bring.

#include <cstdint>
#include <string>
#include <vector>

namespace traitscope {

struct Device {
    std::string name;
    std::string description;
    std::string backend; ///< ggml's name of what drives it, e.g. CUDA, Vulkan, CPU
    bool is_gpu = false;
    uint64_t memory_free = 0;
    uint64_t memory_total = 0;
};

/// A portable build brings ggml's backends as libraries: loads the best of each kind found in `folder`, and
/// what GGML_BACKEND_PATH names. Call it before anything else, or llama.cpp would search the working
/// directory for them; a build with its backends linked in needs no call. Throws Internal where none fits
/// this processor.
void load_backends(const std::string & folder);

/// Whether this build takes backends as libraries; else they are linked in.
bool takes_backends();

/// Opens libraries, by path or by name, and keeps them: what is opened later and needs one of them finds it
/// here, and the system's loader searches for nothing. Throws Internal with the loader's reason.
void open_libraries(const std::vector<std::string> & names);

/// Adds the backend in a library, after load_backends(). Throws Internal with ggml's reason.
void load_backend(const std::string & path);

/// Sets up llama.cpp once per process; every entry point that uses it calls this. Throws Internal before
/// load_backends() in a portable build.
void init_engine();

std::vector<Device> list_devices();

/// A variable of the environment by which a backend's products are as precise as their types say.
struct PrecisionSwitch {
    std::string name;
    std::string value; ///< in force
    bool ours = false; ///< set here; else the user's own, which stays
};

/// Those of the backends that are loaded, set before they were.
std::vector<PrecisionSwitch> precision_switches();

/// CUDA adds up products with F16 weights, and some with quantised ones, in F16: from now on it multiplies
/// them in F32, in the whole process. Bases in BF16 do not need it, and would lose their tensor cores by it.
void forbid_f16_sums();

/// llama.cpp's list of CPU features and backends that this build uses.
std::string system_info();

} // namespace traitscope
