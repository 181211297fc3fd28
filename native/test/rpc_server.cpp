// The other end of rpc_device.h: serves the CPU device of the backends in a folder until standard input ends.
// Usage: rpc_server FOLDER HOST:PORT

#include <cstdio>
#include <cstdlib>
#include <ggml-backend.h>
#include <thread>
#include <unistd.h>

int main(int argc, char ** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: rpc_server FOLDER HOST:PORT\n");
        return 2;
    }
    std::thread([] {
        char byte = 0;
        while (read(STDIN_FILENO, &byte, 1) > 0) {
        }
        std::_Exit(0);
    }).detach();
    ggml_backend_load_all_from_path(argv[1]);
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t rpc = ggml_backend_reg_by_name("RPC");
    using StartServer = void (*)(const char *, const char *, size_t, size_t, ggml_backend_dev_t *);
    const auto start = rpc == nullptr ? nullptr
                                      : reinterpret_cast<StartServer>(ggml_backend_reg_get_proc_address(
                                            rpc, "ggml_backend_rpc_start_server"));
    if (cpu == nullptr || start == nullptr) {
        return 1;
    }
    const char * threads = std::getenv("TRAITSCOPE_TEST_RPC");
    const int n_threads = threads == nullptr ? 1 : std::atoi(threads);
    start(argv[2], nullptr, static_cast<size_t>(n_threads > 0 ? n_threads : 1), 1, &cpu);
    return 1; // it only returns when it could not listen
}
