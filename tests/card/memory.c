/* A layer of Vulkan that gives each card a limited memory, as a graphics card has: what is allocated beyond it fails,
 * and VK_EXT_memory_budget tells what is free, whichever process holds the rest. llvmpipe alone says neither. Its one
 * heap becomes two: the card's, and the machine's (HOST) that the processor reaches and that is not counted.
 *
 * VK_CARD_BYTES is the memory, and VK_CARD_FILE a file that all processes with the card share: so many
 * slots of a process with its bytes. The slot of a process that has gone counts no more.
 *
 * Source: https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderLayerInterface.md
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

enum { SLOTS = 1024, ALLOCATIONS = 65536, HOST = 1 };

struct slot { volatile pid_t process; volatile uint64_t bytes; };
struct allocation { VkDeviceMemory memory; uint64_t bytes; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slots, *own;
static uint64_t limit;
static struct allocation allocations[ALLOCATIONS];

/* What is below us. Asked for once: later the loader answers with the whole chain, and we would call ourselves. */
static PFN_vkGetInstanceProcAddr next_instance;
static PFN_vkGetDeviceProcAddr next_device;
static PFN_vkCreateDevice next_create_device;
static PFN_vkEnumerateDeviceExtensionProperties next_extensions;
static PFN_vkGetPhysicalDeviceMemoryProperties2 next_memory;
static PFN_vkAllocateMemory next_allocate;
static PFN_vkFreeMemory next_free;
static PFN_vkGetBufferMemoryRequirements next_requirements;

/* A process that was killed holds nothing, although it is listed until its parent has asked for its end. */
static int is_gone(pid_t process) {
    char name[32], text[512] = "";
    snprintf(name, sizeof name, "/proc/%d/stat", process);
    int file = open(name, O_RDONLY);
    if (file < 0) return errno == ENOENT;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    char *state = length > 0 ? strrchr(text, ')') : NULL;
    return !state || state[2] == 'Z' || state[2] == 'X';
}

static void begin(void) {
    if (slots) return;
    int file = open(getenv("VK_CARD_FILE"), O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, SLOTS * sizeof *slots) != 0) abort();
    limit = strtoull(getenv("VK_CARD_BYTES"), NULL, 10);
    slots = mmap(NULL, SLOTS * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (slots == MAP_FAILED) abort();
    for (int i = 0; i < SLOTS && !own; i++) {
        pid_t former = slots[i].process;
        if ((former == 0 || is_gone(former)) && __sync_bool_compare_and_swap(&slots[i].process, former, getpid())) {
            own = &slots[i];
            own->bytes = 0;
        }
    }
    if (!own) abort();
}

static uint64_t used_by_others(void) {
    uint64_t bytes = 0;
    for (int i = 0; i < SLOTS; i++)
        if (&slots[i] != own && slots[i].process && !is_gone(slots[i].process)) bytes += slots[i].bytes;
    return bytes;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(
    const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator, VkInstance *made) {
    VkLayerInstanceCreateInfo *chain = (VkLayerInstanceCreateInfo *)info->pNext;
    while (chain->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO || chain->function != VK_LAYER_LINK_INFO)
        chain = (VkLayerInstanceCreateInfo *)chain->pNext;
    next_instance = chain->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    chain->u.pLayerInfo = chain->u.pLayerInfo->pNext;
    pthread_mutex_lock(&lock);
    begin();
    pthread_mutex_unlock(&lock);
    VkResult result = ((PFN_vkCreateInstance)next_instance(NULL, "vkCreateInstance"))(info, allocator, made);
    if (result != VK_SUCCESS) return result;
    next_create_device = (PFN_vkCreateDevice)next_instance(*made, "vkCreateDevice");
    next_extensions =
        (PFN_vkEnumerateDeviceExtensionProperties)next_instance(*made, "vkEnumerateDeviceExtensionProperties");
    next_memory =
        (PFN_vkGetPhysicalDeviceMemoryProperties2)next_instance(*made, "vkGetPhysicalDeviceMemoryProperties2");
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(
    VkPhysicalDevice card, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *allocator, VkDevice *made) {
    VkLayerDeviceCreateInfo *chain = (VkLayerDeviceCreateInfo *)info->pNext;
    while (chain->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO || chain->function != VK_LAYER_LINK_INFO)
        chain = (VkLayerDeviceCreateInfo *)chain->pNext;
    next_device = chain->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    chain->u.pLayerInfo = chain->u.pLayerInfo->pNext;
    VkResult result = next_create_device(card, info, allocator, made);
    if (result != VK_SUCCESS) return result;
    next_allocate = (PFN_vkAllocateMemory)next_device(*made, "vkAllocateMemory");
    next_free = (PFN_vkFreeMemory)next_device(*made, "vkFreeMemory");
    next_requirements =
        (PFN_vkGetBufferMemoryRequirements)next_device(*made, "vkGetBufferMemoryRequirements");
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL extensions(
    VkPhysicalDevice card, const char *layer, uint32_t *count, VkExtensionProperties *found) {
    uint32_t own_count;
    VkResult result = next_extensions(card, layer, &own_count, NULL);
    if (result != VK_SUCCESS) return result;
    if (!found) {
        *count = own_count + 1;
        return result;
    }
    if (*count <= own_count) return next_extensions(card, layer, count, found);
    result = next_extensions(card, layer, &own_count, found);
    strcpy(found[own_count].extensionName, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    found[own_count].specVersion = 1;
    *count = own_count + 1;
    return result;
}

static VKAPI_ATTR void VKAPI_CALL memory(VkPhysicalDevice card, VkPhysicalDeviceMemoryProperties2 *found) {
    next_memory(card, found);
    VkPhysicalDeviceMemoryProperties *all = &found->memoryProperties;
    VkMemoryPropertyFlags flags = all->memoryTypes[0].propertyFlags;
    all->memoryHeaps[HOST] = (VkMemoryHeap){all->memoryHeaps[0].size, 0};
    all->memoryHeaps[0].size = limit;
    all->memoryTypes[HOST] = (VkMemoryType){flags & ~VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, HOST};
    all->memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    all->memoryHeapCount = all->memoryTypeCount = HOST + 1;
    uint64_t others = used_by_others();
    for (VkBaseOutStructure *more = found->pNext; more; more = more->pNext)
        if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) {
            VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (VkPhysicalDeviceMemoryBudgetPropertiesEXT *)more;
            budget->heapUsage[0] = own->bytes;
            budget->heapBudget[0] = others < limit - own->bytes ? limit - others : own->bytes;
            budget->heapUsage[HOST] = 0;
            budget->heapBudget[HOST] = all->memoryHeaps[HOST].size;
        }
}

static VKAPI_ATTR void VKAPI_CALL memory_of_old(VkPhysicalDevice card, VkPhysicalDeviceMemoryProperties *found) {
    VkPhysicalDeviceMemoryProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    memory(card, &all);
    *found = all.memoryProperties;
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate(
    VkDevice device, const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *allocator, VkDeviceMemory *made) {
    if (info->memoryTypeIndex == HOST) {
        VkMemoryAllocateInfo below = *info;
        below.memoryTypeIndex = 0;
        return next_allocate(device, &below, allocator, made);
    }
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    pthread_mutex_lock(&lock);
    if (used_by_others() + own->bytes + info->allocationSize <= limit) {
        result = next_allocate(device, info, allocator, made);
        for (int i = 0; result == VK_SUCCESS && i < ALLOCATIONS; i++)
            if (!allocations[i].memory) {
                allocations[i] = (struct allocation){*made, info->allocationSize};
                own->bytes += info->allocationSize;
                break;
            }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static VKAPI_ATTR void VKAPI_CALL release(
    VkDevice device, VkDeviceMemory gone, const VkAllocationCallbacks *allocator) {
    pthread_mutex_lock(&lock);
    for (int i = 0; gone && i < ALLOCATIONS; i++)
        if (allocations[i].memory == gone) {
            own->bytes -= allocations[i].bytes;
            allocations[i].memory = VK_NULL_HANDLE;
            break;
        }
    pthread_mutex_unlock(&lock);
    next_free(device, gone, allocator);
}

static VKAPI_ATTR void VKAPI_CALL requirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements *found) {
    next_requirements(device, buffer, found);
    found->memoryTypeBits = 1 | 1 << HOST;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL of_device(VkDevice device, const char *name);
static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL of_instance(VkInstance asked, const char *name);

static PFN_vkVoidFunction ours(const char *name) {
    static const struct { const char *name; PFN_vkVoidFunction function; } table[] = {
        {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)of_instance},
        {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)of_device},
        {"vkCreateInstance", (PFN_vkVoidFunction)create_instance},
        {"vkCreateDevice", (PFN_vkVoidFunction)create_device},
        {"vkEnumerateDeviceExtensionProperties", (PFN_vkVoidFunction)extensions},
        {"vkGetPhysicalDeviceMemoryProperties", (PFN_vkVoidFunction)memory_of_old},
        {"vkGetPhysicalDeviceMemoryProperties2", (PFN_vkVoidFunction)memory},
        {"vkGetPhysicalDeviceMemoryProperties2KHR", (PFN_vkVoidFunction)memory},
        {"vkAllocateMemory", (PFN_vkVoidFunction)allocate},
        {"vkFreeMemory", (PFN_vkVoidFunction)release},
        {"vkGetBufferMemoryRequirements", (PFN_vkVoidFunction)requirements},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0) return table[i].function;
    return NULL;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL of_device(VkDevice device, const char *name) {
    PFN_vkVoidFunction found = ours(name);
    return found ? found : next_device(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL of_instance(VkInstance asked, const char *name) {
    PFN_vkVoidFunction found = ours(name);
    return found ? found : next_instance(asked, name);
}

VK_LAYER_EXPORT VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(
    VkNegotiateLayerInterface *asked) {
    asked->loaderLayerInterfaceVersion = 2;
    asked->pfnGetInstanceProcAddr = of_instance;
    asked->pfnGetDeviceProcAddr = of_device;
    asked->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
