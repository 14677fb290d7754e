/* A PKCS#11 module that is SoftHSM2, but for C_Initialize and C_Sign: they do not answer as long as the file named by STALL_START_FILE, STALL_FILE is there. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version and 68 functions, C_Initialize the first, C_Sign the 44th of them. */
struct functions { unsigned char version[2]; void *function[68]; };
enum { INITIALIZE = 0, GET_FUNCTION_LIST = 3, SIGN = 43 };
typedef unsigned long (*initialize_function)(void *);
typedef unsigned long (*sign_function)(unsigned long, void *, unsigned long, void *, unsigned long *);
typedef unsigned long (*list_function)(struct functions **);

static struct functions list;
static sign_function real_sign;
static initialize_function real_initialize;

static void stall(const char *variable) {
    const char *file = getenv(variable);
    while (file && access(file, F_OK) == 0) usleep(5000);
}

static unsigned long initialize(void *arguments) {
    stall("STALL_START_FILE");
    return real_initialize(arguments);
}

static unsigned long sign(unsigned long session, void *data, unsigned long length, void *signature, unsigned long *signature_length) {
    stall("STALL_FILE");
    return real_sign(session, data, length, signature, signature_length);
}

unsigned long C_GetFunctionList(struct functions **out) {
    struct functions *real;
    void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    if (!library || ((list_function)dlsym(library, "C_GetFunctionList"))(&real) != 0) return 5;
    memcpy(&list, real, sizeof list);
    real_initialize = (initialize_function)list.function[INITIALIZE];
    list.function[INITIALIZE] = initialize;
    real_sign = (sign_function)list.function[SIGN];
    list.function[SIGN] = sign;
    list.function[GET_FUNCTION_LIST] = C_GetFunctionList;
    *out = &list;
    return 0;
}
