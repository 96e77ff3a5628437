// Per-thread work areas of the kernels.
#include <pthread.h>
#include <stdlib.h>

#include "level.h"

typedef struct area {
    size_t size;
    void * mem;
} area;

static pthread_key_t  key;
static pthread_once_t once    = PTHREAD_ONCE_INIT;
static int            key_err = 1;

static void area_free(void * p) {
    area * a = p;
    free(a->mem);
    free(a);
}

static void make_key(void) { key_err = pthread_key_create(&key, area_free); }

void * gt_scratch(size_t size) {
    pthread_once(&once, make_key);
    if (key_err) return NULL;
    area * a = pthread_getspecific(key);
    if (!a) {
        a = calloc(1, sizeof *a);
        if (!a) return NULL;
        if (pthread_setspecific(key, a)) {
            free(a);
            return NULL;
        }
    }
    if (a->size < size) {
        free(a->mem);
        a->size = 0;
        size    = (size + 4095) / 4096 * 4096;
        if (posix_memalign(&a->mem, 4096, size)) {
            a->mem = NULL;
            return NULL;
        }
        a->size = size;
    }
    return a->mem;
}
