/* eval_text.c - slices of answers.  See eval_text.h. */
#include "eval_text.h"

#include <string.h>

struct chat_str eval_trim(struct chat_str s)
{
    while (s.n && eval_is_space(s.s[0]))
        s = (struct chat_str){s.s + 1, s.n - 1};
    while (s.n && eval_is_space(s.s[s.n - 1]))
        s.n--;
    return s;
}

bool eval_equal(struct chat_str a, struct chat_str b)
{
    return a.n == b.n && (!a.n || !memcmp(a.s, b.s, a.n));
}

bool eval_equal_fold(struct chat_str a, struct chat_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (eval_lower(a.s[i]) != eval_lower(b.s[i]))
            return false;
    return true;
}

bool eval_has_at(struct chat_str s, size_t i, const char *word)
{
    const size_t n = strlen(word);

    return i <= s.n && n <= s.n - i && !memcmp(s.s + i, word, n);
}

bool eval_has_at_fold(struct chat_str s, size_t i, const char *word)
{
    for (; *word; word++, i++)
        if (i >= s.n || eval_lower(s.s[i]) != *word)
            return false;
    return true;
}

size_t eval_find(struct chat_str s, size_t i, const char *word)
{
    const char *at = i < s.n ? memmem(s.s + i, s.n - i, word, strlen(word)) : NULL;

    return at ? (size_t)(at - s.s) : s.n;
}

/* fences */

/* The first line from i on that starts with ```; s.n: none. */
static size_t eval_find_fence(struct chat_str s, size_t i)
{
    while ((i = eval_find(s, i, "```")) < s.n && i && s.s[i - 1] != '\n')
        i++;
    return i;
}

bool eval_next_fence(struct chat_str s, size_t *cursor, struct chat_str *ret_block)
{
    const size_t open = eval_find_fence(s, *cursor);
    size_t begin = eval_find(s, open, "\n"), close;

    if (begin == s.n)
        return false;
    begin++;
    close = eval_find_fence(s, begin);
    if (close == s.n)
        return false;
    *ret_block = (struct chat_str){s.s + begin, close > begin ? close - 1 - begin : 0};
    *cursor = eval_find(s, close, "\n");
    return true;
}
