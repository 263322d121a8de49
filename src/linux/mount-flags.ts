/** Flags of mount(2), umount2(2) and open(2), as the kernel numbers them. */
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 32;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_PRIVATE = 0x40000;
export const MNT_DETACH = 2;
/** Only to name the file, which is not opened. */
export const O_PATH = 0o10000000;
