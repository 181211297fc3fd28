#include "core/engine.h"

#include "core/error.h"
#include "core/log.h"

#include <cstdlib>
#include <filesystem>
#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>
#include <mutex>

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#if defined(TRAITSCOPE_TEST_RPC)
#include "test/rpc_device.h"
#endif

namespace traitscope {

namespace {

constexpr char cublas_type[] = "GGML_CUDA_CUBLAS_COMPUTE_TYPE";

struct Switch {
    const char * backend;
    const char * name;
    const char * value;
};

/// Read from ggml's source: without them F32 products on NVIDIA cards use TF32, which keeps 10 bits of 23,
/// and Vulkan's F16. What ggml offers no switch for, the self-check measures.
constexpr Switch switches[] = {
    {"cuda", "NVIDIA_TF32_OVERRIDE", "0"},
    {"cuda", cublas_type, "auto"}, // so that forbid_f16_sums() changes a variable that exists
    {"vulkan", "GGML_VK_DISABLE_F16", "1"},
    {"vulkan", "GGML_VK_DISABLE_COOPMAT", "1"}, // matrix cores, which take F32 in as F16
    {"vulkan", "GGML_VK_DISABLE_COOPMAT2", "1"},
};

std::mutex switches_mutex;
std::vector<PrecisionSwitch> in_force;

void set_variable(const char * name, const char * value) {
#if defined(_WIN32)
    _putenv_s(name, value);
#else
    setenv(name, value, 1);
#endif
}

/// Children inherit the environment, a trainer among them: what is not needed here is not set.
void set_switches(const std::string & backends) {
    const std::lock_guard<std::mutex> lock(switches_mutex);
    for (const Switch & each : switches) {
        if (backends.find(each.backend) == std::string::npos) {
            continue;
        }
        const char * found = std::getenv(each.name);
        in_force.push_back({each.name, found == nullptr ? each.value : found, found == nullptr});
        if (found == nullptr) {
            set_variable(each.name, each.value);
        }
    }
}

/// Of the libraries that ggml is about to open: those in `folder`, and the one that GGML_BACKEND_PATH names.
/// A relative name there would be searched for, in the working directory too.
std::string library_names(const std::string & folder) {
    std::string names;
    std::error_code error;
    for (const auto & entry : std::filesystem::directory_iterator(folder, error)) {
        names += entry.path().filename().string() + '\n';
    }
    const char * outside = std::getenv("GGML_BACKEND_PATH");
    if (outside == nullptr || *outside == '\0') {
        return names;
    }
    if (!std::filesystem::path(outside).is_absolute()) {
        fail_internal("GGML_BACKEND_PATH is " + std::string(outside) +
                      ", expected an absolute path: give that of the library, or unset it");
    }
    return names + outside;
}

std::once_flag prepared;

void prepare(const std::string * folder) {
    std::call_once(prepared, [&] {
        install_log();
#if defined(TRAITSCOPE_CUDA)
        set_switches("cuda");
#endif
        if (folder == nullptr || ggml_backend_reg_count() != 0) {
            return; // linked in
        }
        set_switches(library_names(*folder));
        ggml_backend_load_all_from_path(folder->c_str());
#if defined(TRAITSCOPE_TEST_RPC)
        add_rpc_device(*folder);
#endif
    });
    if (ggml_backend_reg_count() == 0) {
        fail_internal(folder == nullptr ? "no compute backend was loaded"
                                        : "no compute backend for this processor in " + *folder);
    }
}

} // namespace

void load_backends(const std::string & folder) {
    prepare(&folder);
}

bool takes_backends() {
#if defined(TRAITSCOPE_DYNAMIC)
    return true;
#else
    return false;
#endif
}

void open_libraries(const std::vector<std::string> & names) {
#if defined(_WIN32)
    (void)names; // its loader searches the folder of the library that needs them
#else
    for (const std::string & name : names) {
        void * library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            const char * why = dlerror();
            fail_internal(why == nullptr ? name : why);
        }
        if (void * set = dlsym(library, "ggml_log_set")) {
            install_log_of(reinterpret_cast<decltype(&ggml_log_set)>(set));
        }
    }
#endif
}

void load_backend(const std::string & path) {
    set_switches(std::filesystem::path(path).filename().string());
    const LogCapture log;
    if (ggml_backend_load(path.c_str()) == nullptr) {
        fail_internal(log.text("ggml does not take " + path + " on this system"));
    }
}

void init_engine() {
    prepare(nullptr);
    static std::once_flag once;
    std::call_once(once, llama_backend_init);
}

std::vector<Device> list_devices() {
    std::vector<Device> devices;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        size_t free = 0;
        size_t total = 0;
        ggml_backend_dev_memory(dev, &free, &total);
        const auto type = ggml_backend_dev_type(dev);
        devices.push_back({ggml_backend_dev_name(dev), ggml_backend_dev_description(dev),
                           ggml_backend_reg_name(ggml_backend_dev_backend_reg(dev)),
                           type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU,
                           free, total});
    }
    return devices;
}

std::vector<PrecisionSwitch> precision_switches() {
    const std::lock_guard<std::mutex> lock(switches_mutex);
    return in_force;
}

void forbid_f16_sums() {
    const std::lock_guard<std::mutex> lock(switches_mutex);
    for (PrecisionSwitch & each : in_force) {
        if (each.name == cublas_type && each.ours && each.value != "f32") {
            set_variable(cublas_type, "f32");
            each.value = "f32";
        }
    }
}

std::string system_info() {
    return llama_print_system_info();
}

} // namespace traitscope
